// What a model is fed with.
package dev.heddle.training;

import dev.heddle.engine.DType;
import dev.heddle.engine.Device;
import dev.heddle.engine.Tensor;

/**
 * Some samples.
 *
 * @param input {@code (N, ...)}
 * @param target {@code (N)} labels, {@code I64}, or {@code (N, ...)} values
 */
public record Batch(Tensor input, Tensor target) implements AutoCloseable {
    /** Number of samples. */
    public long size() {
        return input.dim(0);
    }

    /** This batch on a device: itself if it is there, otherwise a copy; no gradient flows through that. */
    public Batch to(Device device) {
        return new Batch(input.to(device), target.to(device));
    }

    /** This batch with an input that is float in another float dtype; targets stay as they are. */
    public Batch to(DType dtype) {
        return input.dtype().isFloat() ? new Batch(input.to(dtype), target) : this;
    }

    /** Returns the memory of both tensors; see {@link Tensor#close()}. */
    @Override
    public void close() {
        input.close();
        target.close();
    }
}
