// Batch normalisation of vectors and sequences.
package dev.heddle.layers;

import dev.heddle.engine.ShapeException;
import dev.heddle.engine.Tensor;

/** For {@code (N, C) or (N, C, L)}; see {@link BatchNorm}. */
public final class BatchNorm1d extends BatchNorm {
    /** For a number of channels. */
    public BatchNorm1d(int channels) {
        super(channels);
    }

    @Override
    void requireRank(Tensor x) {
        if (x.rank() != 2 && x.rank() != 3) {
            throw new ShapeException(this + ": needs (N, C) or (N, C, L), got " + x.shape());
        }
    }
}
