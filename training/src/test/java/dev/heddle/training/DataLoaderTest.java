// Order, ends, failures and threads of data loading, and the datasets behind it.
package dev.heddle.training;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.heddle.engine.Shape;
import dev.heddle.engine.Tensor;
import dev.heddle.engine.memory.NativeMemory;
import dev.heddle.testing.NoLeaks;
import java.util.ArrayList;
import java.util.List;
import java.util.NoSuchElementException;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.IntStream;
import java.util.stream.LongStream;
import org.junit.jupiter.api.Test;

@NoLeaks
class DataLoaderTest {
    /** Sample {@code i} is the number {@code i}, labelled {@code i}. */
    private static ArrayDataset numbers(int n) {
        float[] values = new float[n];
        for (int i = 0; i < n; i++) {
            values[i] = i;
        }
        return ArrayDataset.of(values, Shape.of(1), LongStream.range(0, n).toArray(), n);
    }

    private static List<List<Long>> epoch(DataLoader loader) {
        List<List<Long>> batches = new ArrayList<>();
        for (Batch batch : loader) {
            assertArrayEquals(batch.input().toLongArray(), batch.target().toLongArray());
            assertEquals(batch.size(), batch.target().dim(0));
            batches.add(LongStream.of(batch.target().toLongArray()).boxed().toList());
        }
        assertEquals(loader.batches(), batches.size());
        return batches;
    }

    private static List<Long> flat(List<List<Long>> batches) {
        return batches.stream().flatMap(List::stream).toList();
    }

    private static long threads() {
        return Thread.getAllStackTraces().keySet().stream().filter(t -> t.getName().equals("heddle-data-loader")).count();
    }

    private static void requireNoThreads(boolean collect) {
        for (int i = 0; i < 2000 && threads() > 0; i++) {
            if (collect) {
                System.gc();
            }
            try {
                Thread.sleep(5);
            } catch (InterruptedException e) {
                throw new AssertionError(e);
            }
        }
        assertEquals(0, threads());
    }

    @Test
    void batchesComeInOrder() {
        assertEquals(List.of(List.of(0L, 1L, 2L), List.of(3L, 4L, 5L), List.of(6L)), epoch(DataLoader.of(numbers(7), 3)));
        assertEquals(List.of(List.of(0L, 1L, 2L), List.of(3L, 4L, 5L)), epoch(DataLoader.of(numbers(7), 3).dropLast()));
        assertEquals(List.of(List.of(0L, 1L)), epoch(DataLoader.of(numbers(2), 3)));
        assertEquals(List.of(), epoch(DataLoader.of(numbers(2), 3).dropLast()));
        assertEquals(List.of(), epoch(DataLoader.of(numbers(0), 3)));
        assertThrows(IllegalArgumentException.class, () -> DataLoader.of(numbers(2), 0));
    }

    @Test
    void shuffledEpochsArePermutationsThatSeedAndEpochDecide() {
        DataLoader loader = DataLoader.of(numbers(50), 8).shuffle(7);
        List<Long> first = flat(epoch(loader));
        List<Long> second = flat(epoch(loader));
        assertEquals(2, loader.epoch());
        assertEquals(LongStream.range(0, 50).boxed().toList(), first.stream().sorted().toList());
        assertEquals(LongStream.range(0, 50).boxed().toList(), second.stream().sorted().toList());
        assertNotEquals(first, second);
        loader.epoch(1);
        assertEquals(second, flat(epoch(loader)));
        assertEquals(first, flat(epoch(DataLoader.of(numbers(50), 5).shuffle(7))));
        assertNotEquals(first, flat(epoch(DataLoader.of(numbers(50), 8).shuffle(8))));
        List<Long> dropped = flat(epoch(DataLoader.of(numbers(50), 8).shuffle(7).dropLast()));
        assertEquals(first.subList(0, 48), dropped);
    }

    @Test
    void everyPlaceSeesEverySample() {
        DataLoader loader = DataLoader.of(numbers(4), 4).shuffle(3);
        int[][] seen = new int[4][4];
        for (int e = 0; e < 400; e++) {
            List<Long> order = flat(epoch(loader));
            for (int i = 0; i < 4; i++) {
                seen[i][order.get(i).intValue()]++;
            }
        }
        for (int[] place : seen) {
            for (int count : place) {
                assertTrue(count > 60 && count < 140, java.util.Arrays.toString(place)); // 100 expected, 8.7 standard deviation
            }
        }
    }

    @Test
    void aBatchIsClosedWhenTheNextIsDrawnButWhatNeedsItIsComputedFirst() {
        DataLoader loader = DataLoader.of(numbers(4), 2);
        try (DataLoader.Batches batches = loader.iterator()) {
            Batch first = batches.next();
            Tensor sum = first.input().add(1).sum();
            Batch second = batches.next();
            assertEquals(3, sum.item());
            assertThrows(IllegalStateException.class, () -> first.input().toFloatArray());
            assertArrayEquals(new long[] {2, 3}, second.target().toLongArray());
            assertFalse(batches.hasNext());
            assertThrows(IllegalStateException.class, () -> second.input().toFloatArray());
            assertThrows(NoSuchElementException.class, batches::next);
        }
    }

    @Test
    void aSteadyLoopTakesNoMemoryFromTheSystem() {
        DataLoader loader = DataLoader.of(ArrayDataset.of(new float[200 * 5000], Shape.of(5000), new long[200], 1), 20).shuffle(1);
        double sum = 0;
        for (Batch batch : loader) {
            sum += batch.input().sum().item();
        }
        long allocations = NativeMemory.nativeAllocations();
        for (int e = 0; e < 5; e++) {
            for (Batch batch : loader) {
                sum += batch.input().sum().item();
            }
        }
        assertEquals(0, sum);
        assertTrue(NativeMemory.nativeAllocations() - allocations <= 4, "one block for each batch that may be alive at once");
    }

    /** Fails with the given error at one batch. */
    private static Dataset failing(int size, int at, RuntimeException failure) {
        return new Dataset() {
            @Override
            public int size() {
                return size;
            }

            @Override
            public Batch batch(int[] indices, long seed) {
                if (IntStream.of(indices).anyMatch(i -> i == at)) {
                    throw failure;
                }
                return new Batch(Tensor.of(new float[indices.length], indices.length), Tensor.of(new long[indices.length], indices.length));
            }
        };
    }

    @Test
    void failuresReachTheConsumerInOrder() {
        DatasetException failure = new DatasetException("sample 5 is broken");
        try (DataLoader.Batches batches = DataLoader.of(failing(20, 5, failure), 2).iterator()) {
            batches.next();
            batches.next();
            assertSame(failure, assertThrows(DatasetException.class, batches::next));
            assertFalse(batches.hasNext());
            assertThrows(NoSuchElementException.class, batches::next);
        }
        requireNoThreads(false);
    }

    @Test
    void closingAnIterationEndsItsThread() {
        for (int i = 0; i < 20; i++) {
            try (DataLoader.Batches batches = DataLoader.of(numbers(1000), 2).iterator()) {
                for (int k = 0; k < i; k++) {
                    batches.next();
                }
            }
        }
        requireNoThreads(false);
    }

    @Test
    void lettingGoOfAnIterationEndsItsThread() {
        abandon();
        requireNoThreads(true);
    }

    private static void abandon() {
        for (Batch batch : DataLoader.of(numbers(1000), 2)) {
            assertEquals(2, batch.size());
            break;
        }
    }

    @Test
    void anInterruptedConsumerStops() {
        Dataset slow = new Dataset() {
            @Override
            public int size() {
                return 1;
            }

            @Override
            public Batch batch(int[] indices, long seed) {
                try {
                    Thread.sleep(60_000);
                } catch (InterruptedException stopped) {
                    throw new DatasetException("stopped", stopped);
                }
                throw new AssertionError("nobody waits that long");
            }
        };
        try (DataLoader.Batches batches = DataLoader.of(slow, 1).iterator()) {
            Thread.currentThread().interrupt();
            assertThrows(IllegalStateException.class, batches::next);
            assertTrue(Thread.interrupted());
        }
        requireNoThreads(false);
    }

    @Test
    void aDatasetIsAskedForOneBatchAtATime() throws InterruptedException {
        AtomicInteger inside = new AtomicInteger();
        AtomicInteger most = new AtomicInteger();
        Dataset inner = numbers(400);
        Dataset watched = new Dataset() {
            @Override
            public int size() {
                return inner.size();
            }

            @Override
            public Batch batch(int[] indices, long seed) {
                most.accumulateAndGet(inside.incrementAndGet(), Math::max);
                Thread.yield();
                Batch batch = inner.batch(indices, seed);
                inside.decrementAndGet();
                return batch;
            }
        };
        DataLoader loader = DataLoader.of(watched, 1);
        try (DataLoader.Batches a = loader.iterator(); DataLoader.Batches b = loader.iterator()) {
            for (int i = 0; i < 400; i++) {
                assertEquals(i, a.next().target().item());
                assertEquals(i, b.next().target().item());
            }
        }
        assertEquals(1, most.get());
    }

    @Test
    void imagesAreNormalised() {
        ArrayDataset images = ArrayDataset.ofImages(new byte[] {0, (byte) 255, 51, 102, 0, 0, 0, 1}, Shape.of(1, 2, 2), new long[] {1, 0}, 2,
                0.5f, 0.25f);
        assertEquals(2, images.size());
        assertEquals(Shape.of(1, 2, 2), images.shape());
        try (Batch batch = images.batch(new int[] {1, 0}, 0)) {
            assertEquals(Shape.of(2, 1, 2, 2), batch.input().shape());
            assertArrayEquals(new float[] {-2, -2, -2, (1 / 255f - 0.5f) * 4, -2, 2, -1.2f, -0.4f}, batch.input().toFloatArray(), 1e-6f);
            assertArrayEquals(new long[] {0, 1}, batch.target().toLongArray());
        }
    }

    @Test
    void targetsMayBeValues() {
        ArrayDataset points = ArrayDataset.of(new float[] {1, 2, 3}, Shape.SCALAR, new float[] {1, 1, 2, 4, 3, 9}, Shape.of(2));
        try (Batch batch = points.batch(new int[] {2, 0}, 0)) {
            assertArrayEquals(new float[] {3, 1}, batch.input().toFloatArray());
            assertEquals(Shape.of(2, 2), batch.target().shape());
            assertArrayEquals(new float[] {3, 9, 1, 1}, batch.target().toFloatArray());
        }
    }

    @Test
    void transformsDependOnSampleAndEpochOnly() {
        ArrayDataset noisy = numbers(30).transform((values, at, shape, random) -> values[at] += (float) random.nextDouble());
        float[][] epochs = new float[2][30];
        DataLoader loader = DataLoader.of(noisy, 4);
        for (float[] values : epochs) {
            for (Batch batch : loader) {
                long[] labels = batch.target().toLongArray();
                float[] inputs = batch.input().toFloatArray();
                for (int i = 0; i < labels.length; i++) {
                    values[(int) labels[i]] = inputs[i];
                }
            }
        }
        assertFalse(java.util.Arrays.equals(epochs[0], epochs[1]));
        for (Batch batch : DataLoader.of(noisy, 30)) {
            assertArrayEquals(epochs[0], batch.input().toFloatArray());
        }
        for (int i = 0; i < 30; i++) {
            assertTrue(epochs[0][i] >= i && epochs[0][i] < i + 1);
        }
    }

    @Test
    void arraysThatDoNotFitAreRefused() {
        float[] six = new float[6];
        assertThrows(DatasetException.class, () -> ArrayDataset.of(six, Shape.of(4), new long[1], 2));
        assertThrows(DatasetException.class, () -> ArrayDataset.of(six, Shape.of(0), new long[0], 2));
        assertThrows(DatasetException.class, () -> ArrayDataset.of(six, Shape.of(2), new long[2], 2));
        assertThrows(DatasetException.class, () -> ArrayDataset.of(six, Shape.of(2), new float[7], Shape.of(2)));
        assertThrows(DatasetException.class, () -> ArrayDataset.of(six, Shape.of(2), new float[9], Shape.of(2)));
        String message = assertThrows(DatasetException.class, () -> ArrayDataset.of(six, Shape.of(2), new long[] {0, 1, 2}, 2)).getMessage();
        assertTrue(message.contains("label 2 of sample 2"), message);
        assertThrows(DatasetException.class, () -> ArrayDataset.of(six, Shape.of(2), new long[] {0, -1, 1}, 2));
    }
}
