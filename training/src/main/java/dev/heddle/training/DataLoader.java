// Batches, in a random order that a seed decides, made ahead of time by a background thread.
package dev.heddle.training;

import java.lang.ref.Cleaner;
import java.util.Iterator;
import java.util.NoSuchElementException;
import java.util.SplittableRandom;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;

/**
 * Iterates over a dataset; each iteration is an epoch. A batch is valid until the next one is drawn, the last one until
 * {@link Batches#hasNext()} says so: then its memory goes back to the pool (unread results that need it are evaluated
 * first), so that a loop runs without allocating. What the dataset throws, {@link Batches#next()} throws.
 */
public final class DataLoader implements Iterable<Batch> {
    private static final Cleaner CLEANER = Cleaner.create();
    private static final int PREFETCH = 2;

    private final Dataset dataset;
    private final int batchSize;
    private final boolean shuffle;
    private final long seed;
    private final boolean dropLast;
    private long epoch;

    private DataLoader(Dataset dataset, int batchSize, boolean shuffle, long seed, boolean dropLast) {
        if (batchSize < 1) {
            throw new IllegalArgumentException("data loader: batch size " + batchSize);
        }
        this.dataset = dataset;
        this.batchSize = batchSize;
        this.shuffle = shuffle;
        this.seed = seed;
        this.dropLast = dropLast;
    }

    /** Batches in order; the last one may be smaller. */
    public static DataLoader of(Dataset dataset, int batchSize) {
        return new DataLoader(dataset, batchSize, false, 0, false);
    }

    /** The same loader with another random order in each epoch. */
    public DataLoader shuffle(long seed) {
        return new DataLoader(dataset, batchSize, true, seed, dropLast);
    }

    /** The same loader without a last batch that is smaller than the others. */
    public DataLoader dropLast() {
        return new DataLoader(dataset, batchSize, shuffle, seed, true);
    }

    /** Number of batches of an epoch. */
    public int batches() {
        return dropLast ? dataset.size() / batchSize : (dataset.size() + batchSize - 1) / batchSize;
    }

    /** Number of samples of the dataset. */
    public int samples() {
        return dataset.size();
    }

    /** The epoch that the next iteration will be, counted from 0. */
    public long epoch() {
        return epoch;
    }

    /** Sets the epoch that the next iteration will be, to resume. */
    public void epoch(long epoch) {
        this.epoch = epoch;
    }

    /** Starts the next epoch. */
    @Override
    public Batches iterator() {
        return new Batches(new Producer(this, epoch++));
    }

    /** The order of an epoch: a Fisher-Yates shuffle by {@link SplittableRandom}. */
    private int[] order(long epoch) {
        int[] order = new int[dataset.size()];
        for (int i = 0; i < order.length; i++) {
            order[i] = i;
        }
        if (shuffle) {
            SplittableRandom random = new SplittableRandom(seed * 0x9E3779B97F4A7C15L + epoch);
            for (int i = order.length - 1; i > 0; i--) {
                int k = random.nextInt(i + 1);
                int swapped = order[i];
                order[i] = order[k];
                order[k] = swapped;
            }
        }
        return order;
    }

    /** Fills a queue from its own thread, until done or interrupted. */
    private static final class Producer implements Runnable {
        private record Item(Batch batch, Throwable failure) {}

        private final DataLoader loader;
        private final long epoch;
        private final BlockingQueue<Item> queue = new ArrayBlockingQueue<>(PREFETCH);
        private final Thread thread;
        private volatile boolean stopped;

        Producer(DataLoader loader, long epoch) {
            this.loader = loader;
            this.epoch = epoch;
            thread = Thread.ofPlatform().daemon().name("heddle-data-loader").unstarted(this);
        }

        @Override
        public void run() {
            try {
                int[] order = loader.order(epoch);
                for (int b = 0; b < loader.batches() && !stopped; b++) {
                    int from = b * loader.batchSize;
                    int[] indices = java.util.Arrays.copyOfRange(order, from, Math.min(order.length, from + loader.batchSize));
                    Batch batch;
                    synchronized (loader.dataset) { // an iteration that was given up may still be making its last batch
                        batch = loader.dataset.batch(indices, loader.seed + epoch * 0xD1B54A32D192ED03L);
                    }
                    try {
                        queue.put(new Item(batch, null));
                    } catch (InterruptedException stop) {
                        batch.close();
                        return;
                    }
                }
            } catch (RuntimeException | Error failure) {
                offerFailure(failure);
            }
        }

        private void offerFailure(Throwable failure) {
            try {
                queue.put(new Item(null, failure));
            } catch (InterruptedException stop) {
                Thread.currentThread().interrupt();
            }
        }

        /** Ends the thread and returns what it made. */
        void stop() {
            stopped = true;
            thread.interrupt();
            for (Item item; (item = queue.poll()) != null;) {
                if (item.batch != null) {
                    item.batch.close();
                }
            }
        }
    }

    /** The batches of one epoch. Closing it early ends the background thread; so does letting go of it. */
    public static final class Batches implements Iterator<Batch>, AutoCloseable {
        private final Producer producer;
        private final Cleaner.Cleanable cleanable;
        private int left;
        private Batch current;

        private Batches(Producer producer) {
            this.producer = producer;
            left = producer.loader.batches();
            producer.thread.start();
            cleanable = CLEANER.register(this, producer::stop);
        }

        @Override
        public boolean hasNext() {
            if (left == 0) {
                close();
            }
            return left > 0;
        }

        @Override
        public Batch next() {
            if (left == 0) {
                throw new NoSuchElementException("data loader: the epoch is over");
            }
            closeCurrent();
            Producer.Item item;
            try {
                item = producer.queue.take();
            } catch (InterruptedException interrupted) {
                Thread.currentThread().interrupt();
                throw new IllegalStateException("data loader: interrupted", interrupted);
            }
            if (item.failure != null) {
                left = 0;
                close();
                if (item.failure instanceof Error error) {
                    throw error;
                }
                throw (RuntimeException) item.failure;
            }
            left--;
            current = item.batch;
            return current;
        }

        private void closeCurrent() {
            if (current != null) {
                current.close();
                current = null;
            }
        }

        /** Ends the epoch. */
        @Override
        public void close() {
            left = 0;
            closeCurrent();
            cleanable.clean();
        }
    }
}
