// Average pooling to a given size.
package dev.heddle.layers;

import dev.heddle.engine.Functional;
import dev.heddle.engine.Tensor;

/** {@code (N, C, H, W) -> (N, C, height, width)}; see {@link Functional#adaptiveAvgPool2d}. */
public final class AdaptiveAvgPool2d extends Layer {
    private final int height;
    private final int width;

    /** To {@code height x width} regions. */
    public AdaptiveAvgPool2d(int height, int width) {
        if (height < 1 || width < 1) {
            throw new IllegalArgumentException("AdaptiveAvgPool2d: " + height + " x " + width);
        }
        this.height = height;
        this.width = width;
    }

    @Override
    public Tensor forward(Tensor x) {
        return Functional.adaptiveAvgPool2d(x, height, width);
    }
}
