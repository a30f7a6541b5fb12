// Adam.
package dev.heddle.training;

import dev.heddle.engine.Variable;
import java.util.Collection;

/**
 * Adam (Kingma and Ba, 2015): {@code m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2;
 * p -= lr m^ / (sqrt(v^) + eps)} with bias-corrected {@code m^ = m / (1 - b1^t)}, {@code v^ = v / (1 - b2^t)}. Weight decay is
 * added to the gradient.
 */
public final class Adam extends AdamUpdate {
    private Adam(Builder builder) {
        super(builder, false);
    }

    /** A builder: learning rate 1e-3, betas 0.9 and 0.999, eps 1e-8, weight decay 0. */
    public static Builder of(Collection<Variable> parameters) {
        return new Builder(parameters);
    }

    /** Options. */
    public static final class Builder extends AdamUpdate.Options<Builder> {
        private Builder(Collection<Variable> parameters) {
            super(parameters, 0);
        }

        @Override
        Builder self() {
            return this;
        }

        /** The optimizer. */
        public Adam build() {
            return new Adam(this);
        }
    }
}
