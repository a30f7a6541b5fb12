// Layer normalisation.
package dev.heddle.layers;

import dev.heddle.engine.Functional;
import dev.heddle.engine.Tensor;
import dev.heddle.engine.Variable;

/** {@code (..., dim) -> (..., dim)}; see {@link Functional#layerNorm}. Parameters {@code weight (dim)}, {@code bias (dim)}. */
public final class LayerNorm extends Layer {
    private final Variable weight;
    private final Variable bias;
    private final double eps;

    /** With {@code eps = 1e-5}. */
    public LayerNorm(int dim) {
        this(dim, 1e-5);
    }

    /** Over the last axis, of extent {@code dim}. */
    public LayerNorm(int dim, double eps) {
        weight = parameter("weight", Init.ones(dim));
        bias = parameter("bias", Init.zeros(dim));
        this.eps = eps;
    }

    @Override
    public Tensor forward(Tensor x) {
        return Functional.layerNorm(x, weight.value(), bias.value(), eps);
    }
}
