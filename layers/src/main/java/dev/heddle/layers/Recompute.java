// A layer whose intermediate results are computed again for the gradient instead of being kept.
package dev.heddle.layers;

import dev.heddle.engine.Functional;
import dev.heddle.engine.Tensor;

/**
 * Another layer, with its parameters under their own names, whose gradient needs memory for its input and for one computation at a
 * time: {@link Functional#recompute}, or activation checkpointing (Chen et al., "Training deep nets with sublinear memory cost", 2016).
 */
public final class Recompute extends Layer {
    private final Layer layer;

    private Recompute(Layer layer) {
        this.layer = layer;
        wrap(layer);
    }

    /** The same layer, recomputed. */
    public static Recompute of(Layer layer) {
        return new Recompute(layer);
    }

    @Override
    public Tensor forward(Tensor x) {
        return training() ? Functional.recompute(layer::forward, x) : layer.forward(x);
    }

    @Override
    public String toString() {
        return "Recompute(" + layer + ")";
    }
}
