// Samples that can be fetched in any order.
package dev.heddle.training;

/** A fixed number of samples; a {@link DataLoader} asks for batches of them, always from one thread at a time. */
public interface Dataset {
    /** Number of samples. */
    int size();

    /**
     * The samples with the given indices, each in {@code [0, size)}, as tensors that the caller owns.
     *
     * @param seed for random transforms: another one for each epoch, the same in each run; combine it with the index, so
     *     that a sample's transform does not depend on the batch it is in
     */
    Batch batch(int[] indices, long seed);
}
