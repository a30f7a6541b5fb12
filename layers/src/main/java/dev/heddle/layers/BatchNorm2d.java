// Batch normalisation of images.
package dev.heddle.layers;

import dev.heddle.engine.ShapeException;
import dev.heddle.engine.Tensor;

/** For {@code (N, C, H, W)}; see {@link BatchNorm}. */
public final class BatchNorm2d extends BatchNorm {
    /** For a number of channels. */
    public BatchNorm2d(int channels) {
        super(channels);
    }

    @Override
    void requireRank(Tensor x) {
        if (x.rank() != 4) {
            throw new ShapeException(this + ": needs (N, C, H, W), got " + x.shape());
        }
    }
}
