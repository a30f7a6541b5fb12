// Samples that can be fetched in any order.
package dev.heddle.training;

/** A fixed number of samples; a {@link DataLoader} asks for batches of them, always from one thread at a time. */
public interface Dataset {
    /** Number of samples. */
    int size();

    /**
     * The samples with the given indices, each in {@code [0, size)}, as tensors that the caller owns.
     *
     * @param seed for random transforms; another one for each batch of each epoch, the same in each run
     */
    Batch batch(int[] indices, long seed);
}
