// Mean pooling.
package dev.heddle.layers;

import dev.heddle.engine.Functional;
import dev.heddle.engine.Tensor;

/** {@code (N, C, H, W) -> (N, C, H', W')}: the mean over square windows. */
public final class AvgPool2d extends Layer {
    private final int kernel;
    private final int stride;
    private final int padding;

    /** Windows side by side. */
    public AvgPool2d(int kernel) {
        this(kernel, kernel, 0);
    }

    /** Windows of {@code kernel} taps, {@code stride} apart, over an input padded on all sides. */
    public AvgPool2d(int kernel, int stride, int padding) {
        this.kernel = kernel;
        this.stride = stride;
        this.padding = padding;
        if (kernel < 1 || stride < 1 || padding < 0 || padding > kernel / 2) {
            throw new IllegalArgumentException("AvgPool2d: kernel " + kernel + ", stride " + stride + ", padding " + padding);
        }
    }

    @Override
    public Tensor forward(Tensor x) {
        return Functional.avgPool2d(x, kernel, stride, padding, true);
    }

    @Override
    public String toString() {
        return "AvgPool2d(" + kernel + ")";
    }
}
