// The pool must run every task exactly once whatever the callers do: nest, throw, or come from several threads.
package dev.heddle.engine.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicIntegerArray;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.Test;

class WorkerPoolTest {
    private final WorkerPool pool = new WorkerPool(4);

    @Test
    void runsEveryTaskOnce() {
        for (int tasks : new int[] {0, 1, 2, 3, 4, 5, 100, 1000}) {
            var runs = new AtomicIntegerArray(1000);
            pool.parallelFor(tasks, task -> runs.incrementAndGet(task));
            for (int task = 0; task < 1000; task++) {
                assertEquals(task < tasks ? 1 : 0, runs.get(task), "task " + task + " of " + tasks);
            }
        }
    }

    @Test
    void manyShortRoundsLoseNothing() {
        long[] sums = new long[8];
        for (int round = 0; round < 20_000; round++) {
            pool.parallelFor(8, task -> sums[task] += task);
        }
        for (int task = 0; task < 8; task++) {
            assertEquals(20_000L * task, sums[task]);
        }
    }

    @Test
    void rangesCoverEveryIndexOnceAndBeginAtMultiplesOfTheGrain() {
        for (long n : new long[] {0, 1, 63, 64, 65, 1000, 12_345}) {
            for (long grain : new long[] {1, 64, 1000, 100_000}) {
                byte[] seen = new byte[(int) n];
                pool.parallelFor(n, grain, (from, to) -> {
                    assertTrue(from % grain == 0 && from < to && to <= n, from + " to " + to);
                    for (long i = from; i < to; i++) {
                        seen[(int) i]++;
                    }
                });
                byte[] ones = new byte[(int) n];
                Arrays.fill(ones, (byte) 1);
                assertTrue(Arrays.equals(ones, seen), "n " + n + " grain " + grain);
            }
        }
    }

    @Test
    void nestedCallsRunInline() {
        var sum = new AtomicLong();
        pool.parallelFor(8, outer -> {
            Thread thread = Thread.currentThread();
            pool.parallelFor(8, inner -> {
                assertSame(thread, Thread.currentThread());
                pool.parallelFor(10, 1, (from, to) -> sum.addAndGet(to - from));
            });
        });
        assertEquals(640, sum.get());
    }

    @Test
    void aFailureReachesTheCallerAndThePoolLivesOn() {
        for (int failing = 0; failing < 8; failing++) {
            int bad = failing;
            var failure = new IllegalStateException("task " + bad);
            assertSame(failure, assertThrows(IllegalStateException.class, () -> pool.parallelFor(8, task -> {
                if (task == bad) {
                    throw failure;
                }
            })));
        }
        assertThrows(AssertionError.class, () -> pool.parallelFor(1000, 10, (from, to) -> {
            throw new AssertionError("range");
        }));
        runsEveryTaskOnce();
    }

    @Test
    void callersOnSeveralThreadsTakeTurns() throws InterruptedException {
        var wrong = new AtomicReference<Throwable>();
        var done = new CountDownLatch(4);
        for (int caller = 0; caller < 4; caller++) {
            long factor = caller + 1;
            Thread.ofPlatform().daemon().start(() -> {
                try {
                    for (int round = 0; round < 500; round++) {
                        long[] parts = new long[16];
                        pool.parallelFor(16, task -> parts[task] = factor * task);
                        assertEquals(120 * factor, Arrays.stream(parts).sum());
                    }
                } catch (Throwable e) {
                    wrong.set(e);
                }
                done.countDown();
            });
        }
        done.await();
        assertNull(wrong.get());
    }

    @Test
    void workersThatParkedWakeUp() throws InterruptedException {
        for (int i = 0; i < 5; i++) {
            Thread.sleep(5); // far longer than workers spin
            runsEveryTaskOnce();
        }
    }

    @Test
    void onePoolOfOneThreadRunsEverythingItself() {
        var alone = new WorkerPool(1);
        Thread thread = Thread.currentThread();
        alone.parallelFor(3, task -> assertSame(thread, Thread.currentThread()));
        assertEquals(1, alone.threads());
        assertThrows(IllegalArgumentException.class, () -> new WorkerPool(0));
    }
}
