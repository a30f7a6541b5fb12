// Transposed convolution.
package dev.heddle.layers;

import dev.heddle.engine.Functional;
import dev.heddle.engine.Tensor;
import dev.heddle.engine.Variable;

/**
 * {@code (N, in, H, W) -> (N, out, H', W')}, {@code H' = (H - 1) stride - 2 padding + kernel}: the gradient of a convolution
 * from {@code out} to {@code in} channels. Parameters {@code weight (in, out, kernel, kernel)} and {@code bias (out)}.
 */
public final class ConvTranspose2d extends Layer {
    private final Variable weight;
    private final Variable bias;
    private final int stride;
    private final int padding;

    /** With a bias; both uniform in {@code +-1/sqrt(out kernel^2)} at first, PyTorch's default. */
    public ConvTranspose2d(int in, int out, int kernel, int stride, int padding) {
        double bound = Init.defaultBound(in, out, kernel, kernel);
        weight = parameter("weight", Init.uniform(-bound, bound, in, out, kernel, kernel));
        bias = parameter("bias", Init.uniform(-bound, bound, out));
        this.stride = stride;
        this.padding = padding;
    }

    @Override
    public Tensor forward(Tensor x) {
        return Functional.convTranspose(x, weight.value(), bias.value(), Functional.window(2, stride, padding, 1), 1, 0);
    }
}
