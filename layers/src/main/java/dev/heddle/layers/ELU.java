// The exponential linear unit.
package dev.heddle.layers;

import dev.heddle.engine.Activations;
import dev.heddle.engine.Tensor;

/** {@link Activations#elu} of each element. */
public final class ELU extends Layer {
    private final double alpha;

    /** With {@code alpha} 1. */
    public ELU() {
        this(1);
    }

    /** With a given {@code alpha}. */
    public ELU(double alpha) {
        this.alpha = alpha;
    }

    @Override
    public Tensor forward(Tensor x) {
        return x.map(e -> Activations.elu(e, alpha));
    }
}
