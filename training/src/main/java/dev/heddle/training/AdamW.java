// Adam with decoupled weight decay.
package dev.heddle.training;

import dev.heddle.engine.Variable;
import java.util.Collection;

/**
 * AdamW (Loshchilov and Hutter, 2019): {@link Adam}, but weight decay shrinks the parameter itself:
 * {@code p *= 1 - lr decay} before the step.
 */
public final class AdamW extends AdamUpdate {
    private AdamW(Builder builder) {
        super(builder, true);
    }

    /** A builder: learning rate 1e-3, betas 0.9 and 0.999, eps 1e-8, weight decay 0.01. */
    public static Builder of(Collection<Variable> parameters) {
        return new Builder(parameters);
    }

    /** Options. */
    public static final class Builder extends AdamUpdate.Options<Builder> {
        private Builder(Collection<Variable> parameters) {
            super(parameters, 0.01);
        }

        @Override
        Builder self() {
            return this;
        }

        /** The optimizer. */
        public AdamW build() {
            return new AdamW(this);
        }
    }
}
