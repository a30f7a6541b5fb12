// Root-mean-square normalisation.
package dev.heddle.layers;

import dev.heddle.engine.Functional;
import dev.heddle.engine.Tensor;
import dev.heddle.engine.Variable;

/** {@code (..., dim) -> (..., dim)}; see {@link Functional#rmsNorm}. Parameter {@code weight (dim)}. */
public final class RmsNorm extends Layer {
    private final Variable weight;
    private final double eps;

    /** With {@code eps = 1e-6}. */
    public RmsNorm(int dim) {
        this(dim, 1e-6);
    }

    /** Over the last axis, of extent {@code dim}. */
    public RmsNorm(int dim, double eps) {
        weight = parameter("weight", Init.ones(dim));
        this.eps = eps;
    }

    @Override
    public Tensor forward(Tensor x) {
        return Functional.rmsNorm(x, weight.value(), eps);
    }
}
