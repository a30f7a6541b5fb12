// The fully connected layer.
package dev.heddle.layers;

import dev.heddle.engine.Functional;
import dev.heddle.engine.Tensor;
import dev.heddle.engine.Variable;

/** {@code (..., in) -> (..., out)}: {@code x W^T + b}. Parameters {@code weight (out, in)} and {@code bias (out)}. */
public final class Linear extends Layer {
    private final Variable weight;
    private final Variable bias;

    /** With a bias; both uniform in {@code +-1/sqrt(in)}, PyTorch's default. */
    public Linear(int in, int out) {
        this(in, out, true);
    }

    /** With or without a bias. */
    public Linear(int in, int out, boolean bias) {
        double bound = Init.defaultBound(out, in);
        weight = parameter("weight", Init.uniform(-bound, bound, out, in));
        this.bias = bias ? parameter("bias", Init.uniform(-bound, bound, out)) : null;
    }

    /** {@code (out, in)}. */
    public Variable weight() {
        return weight;
    }

    /** {@code (out)}, or null. */
    public Variable bias() {
        return bias;
    }

    @Override
    public Tensor forward(Tensor x) {
        return Functional.linear(x, weight.value(), bias == null ? null : bias.value());
    }

    @Override
    public String toString() {
        return "Linear(" + weight.shape().dim(1) + ", " + weight.shape().dim(0) + (bias == null ? ", no bias)" : ")");
    }
}
