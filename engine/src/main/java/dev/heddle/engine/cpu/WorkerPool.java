// The one place where the CPU backend uses several cores. Two pools in one process (this one and OpenMP's, say) would
// spin against each other, so native libraries run single-threaded inside the tasks of this one.
package dev.heddle.engine.cpu;

import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.locks.LockSupport;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.IntConsumer;

/**
 * Fork/join of short tasks. The caller takes part; idle workers spin for about 20 us, then park. Tasks are claimed one by
 * one, so which thread runs a task is left to chance and results must not depend on it. Callers on several threads take
 * turns; a call from inside a task runs inline. The pool itself allocates nothing per call.
 */
public final class WorkerPool {
    private static final long SPIN_NANOS = 20_000;
    /** Ranges per thread: enough to even out a core that another process shares, few enough to cost nothing. */
    private static final int RANGES_PER_THREAD = 4;

    private static final class Shared {
        static final WorkerPool POOL =
                new WorkerPool(Integer.getInteger("heddle.threads", Runtime.getRuntime().availableProcessors()));
    }

    /** Work on a contiguous range of indices. */
    @FunctionalInterface
    public interface RangeBody {
        /** Does the work of the indices {@code from} (inclusive) to {@code to} (exclusive). */
        void run(long from, long to);
    }

    private final Worker[] workers;
    private final ReentrantLock turn = new ReentrantLock();

    /**
     * Number of the round in the upper half, unclaimed tasks of it in the lower: one word, so that a worker that wakes
     * late cannot claim a task of a round it has not seen, and nobody needs to wait for it.
     */
    private final AtomicLong ticket = new AtomicLong();
    private final AtomicInteger unfinished = new AtomicInteger();
    private final AtomicReference<Throwable> failure = new AtomicReference<>();
    private volatile Thread parkedCaller;

    // Written by the caller before the ticket, read by workers after they have claimed a task of that round.
    private int round;
    private int tasks;
    private IntConsumer body;
    private RangeBody rangeBody;
    private long rangeSize;
    private long rangeGrain;
    private final IntConsumer runRange = this::runRange;

    /** A pool of its own, whose {@code threads - 1} workers are daemons; most code uses {@link #shared()}. */
    WorkerPool(int threads) {
        if (threads < 1) {
            throw new IllegalArgumentException("worker pool: heddle.threads must be at least 1, got " + threads);
        }
        workers = new Worker[threads - 1];
        for (int i = 0; i < workers.length; i++) {
            workers[i] = new Worker(i + 1);
            workers[i].start();
        }
    }

    /** The pool of the process; {@code -Dheddle.threads} sets its size, by default the number of processors. */
    public static WorkerPool shared() {
        return Shared.POOL;
    }

    /** How many threads run tasks, the caller among them. */
    public int threads() {
        return workers.length + 1;
    }

    /**
     * Runs {@code body} once for each index in {@code [0, tasks)} and returns when all have finished.
     *
     * @throws RuntimeException whatever a task threw first, as does an {@link Error}; tasks not begun by then are skipped
     */
    public void parallelFor(int tasks, IntConsumer body) {
        if (tasks <= 1 || inline()) {
            for (int task = 0; task < tasks; task++) {
                body.accept(task);
            }
            return;
        }
        turn.lock();
        try {
            fork(tasks, body);
        } finally {
            turn.unlock();
        }
    }

    /**
     * Splits {@code [0, n)} into contiguous ranges that begin at multiples of {@code grain} and runs {@code body} on each.
     * How many there are depends on the number of threads; up to {@code grain} indices stay on the calling thread.
     */
    public void parallelFor(long n, long grain, RangeBody body) {
        long grains = (n + grain - 1) / grain;
        if (grains <= 1 || inline()) {
            if (n > 0) {
                body.run(0, n);
            }
            return;
        }
        int ranges = (int) Math.min(grains, (long) RANGES_PER_THREAD * threads());
        turn.lock();
        try {
            rangeBody = body;
            rangeSize = n;
            rangeGrain = grain;
            fork(ranges, runRange);
        } finally {
            rangeBody = null;
            turn.unlock();
        }
    }

    private void runRange(int range) {
        long grains = (rangeSize + rangeGrain - 1) / rangeGrain;
        long from = grains * range / tasks * rangeGrain;
        long to = Math.min(grains * (range + 1) / tasks * rangeGrain, rangeSize);
        rangeBody.run(from, to);
    }

    /** Whether a call from here would run inline: there is one thread, or this is inside a task. */
    boolean inline() {
        return workers.length == 0 || Thread.currentThread() instanceof Worker || turn.isHeldByCurrentThread();
    }

    private void fork(int tasks, IntConsumer body) {
        this.tasks = tasks;
        this.body = body;
        int round = ++this.round;
        unfinished.set(tasks);
        ticket.set((long) round << 32 | tasks);
        int wanted = tasks - 1;
        for (int i = 0; i < workers.length && wanted > 0; i++, wanted--) {
            if (workers[i].parked) {
                LockSupport.unpark(workers[i]);
            }
        }
        runTasks(round);
        join();
        this.body = null;
        Throwable thrown = failure.get();
        if (thrown != null) {
            failure.set(null);
            switch (thrown) {
                case Error error -> throw error;
                case RuntimeException exception -> throw exception;
                default -> throw new IllegalStateException("worker pool: a task threw a checked exception", thrown);
            }
        }
    }

    private void runTasks(int round) {
        for (;;) {
            long seen = ticket.get();
            int unclaimed = (int) seen;
            if ((int) (seen >>> 32) != round || unclaimed == 0) {
                return;
            }
            if (ticket.compareAndSet(seen, seen - 1)) {
                try {
                    if (failure.get() == null) {
                        body.accept(tasks - unclaimed);
                    }
                } catch (Throwable thrown) {
                    failure.compareAndSet(null, thrown);
                }
                if (unfinished.decrementAndGet() == 0) {
                    Thread caller = parkedCaller;
                    if (caller != null) {
                        LockSupport.unpark(caller);
                    }
                }
            }
        }
    }

    private void join() {
        long deadline = System.nanoTime() + SPIN_NANOS;
        for (int spins = 1; unfinished.get() > 0; spins++) {
            Thread.onSpinWait();
            if ((spins & 63) == 0 && System.nanoTime() > deadline) {
                parkedCaller = Thread.currentThread();
                while (unfinished.get() > 0) {
                    LockSupport.park(this);
                }
                parkedCaller = null;
            }
        }
    }

    private final class Worker extends Thread {
        volatile boolean parked;

        Worker(int index) {
            super("heddle-worker-" + index);
            setDaemon(true);
        }

        @Override
        public void run() {
            for (int round = 0;; runTasks(round)) {
                round = awaitAfter(round);
            }
        }

        private int awaitAfter(int round) {
            long deadline = System.nanoTime() + SPIN_NANOS;
            for (int spins = 1;; spins++) {
                int current = (int) (ticket.get() >>> 32);
                if (current != round) {
                    return current;
                }
                Thread.onSpinWait();
                if ((spins & 63) == 0 && System.nanoTime() > deadline) {
                    parked = true;
                    while ((int) (ticket.get() >>> 32) == round) {
                        LockSupport.park(WorkerPool.this);
                    }
                    parked = false;
                }
            }
        }
    }
}
