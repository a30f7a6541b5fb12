// Batches from memory: fetching, normalising, shuffling, beside the thread that takes them.
package dev.heddle.bench.jmh;

import dev.heddle.engine.Shape;
import dev.heddle.training.ArrayDataset;
import dev.heddle.training.Batch;
import dev.heddle.training.DataLoader;
import java.util.Random;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.OperationsPerInvocation;
import org.openjdk.jmh.annotations.Setup;

/** As large as MNIST's test data: 10,000 images of 28 x 28 bytes in batches of 100; times are for a batch. */
public class DataLoaderBenchmark extends EngineBenchmark {
    private static final int IMAGES = 10_000;
    private static final int BATCH = 100;
    private DataLoader ordered;
    private DataLoader shuffled;

    /** Makes the data. */
    @Setup
    public void setup() {
        Random random = new Random(1);
        byte[] pixels = new byte[IMAGES * 28 * 28];
        random.nextBytes(pixels);
        ArrayDataset data = ArrayDataset.ofImages(pixels, Shape.of(1, 28, 28), random.longs(IMAGES, 0, 10).toArray(), 10, 0.13f, 0.31f);
        ordered = DataLoader.of(data, BATCH);
        shuffled = DataLoader.of(data, BATCH).shuffle(1);
    }

    private static long samples(DataLoader loader) {
        long samples = 0;
        for (Batch batch : loader) {
            samples += batch.size();
            batch.close();
        }
        return samples;
    }

    /** In order. */
    @Benchmark
    @OperationsPerInvocation(IMAGES / BATCH)
    public long ordered() {
        return samples(ordered);
    }

    /** In random order. */
    @Benchmark
    @OperationsPerInvocation(IMAGES / BATCH)
    public long shuffled() {
        return samples(shuffled);
    }
}
