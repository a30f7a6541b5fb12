// How much of the cores is ours at this moment. On a virtual machine a core's other hyperthread may be somebody else's: what it does takes
// up to half of the caches and of the arithmetic, for milliseconds or minutes, and no counter of this machine shows it.
package dev.heddle.bench.kernel;

import dev.heddle.engine.cpu.WorkerPool;
import java.util.Arrays;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * A loop of loads from the first-level cache and additions, on all threads of the engine's pool at once: it takes about 0.1 ms, always the same
 * within two thousandths where a core is whole, and up to twice as long where it is not.
 */
final class CoreProbe {
    private static final int LOADS = 1 << 17;
    private static final int WARM_UPS = 20_000;
    private static final int SAMPLES = 2000;

    private static final class Shared {
        static final CoreProbe PROBE = new CoreProbe();
    }

    private final int[] values = new int[4096]; // 16 KB, half of a small first-level cache; shared, so that it is as fast on all threads
    private final int threads = WorkerPool.shared().threads();
    private final long[] nanos = new long[threads];
    private long fastest = Long.MAX_VALUE;
    private volatile int sum; // or the loop would be removed

    /** Compiles the loop and looks how fast it can be. */
    private CoreProbe() {
        for (int i = 0; i < WARM_UPS; i++) {
            sum += loop(values, 100);
        }
        for (int i = 0; i < SAMPLES; i++) {
            slowdown();
        }
    }

    /** The one of the process, which has seen the most. */
    static CoreProbe shared() {
        return Shared.PROBE;
    }

    /** Runs the loop. @return how many times as long as ever it took the slowest thread, at least 1 */
    double slowdown() {
        AtomicInteger begun = new AtomicInteger();
        WorkerPool.shared().parallelFor(threads, i -> {
            begun.incrementAndGet();
            while (begun.get() < threads) { // so that each thread takes one
                Thread.onSpinWait();
            }
            long start = System.nanoTime();
            sum += loop(values, LOADS);
            nanos[i] = System.nanoTime() - start;
        });
        fastest = Math.min(fastest, Arrays.stream(nanos).min().orElseThrow());
        return (double) Arrays.stream(nanos).max().orElseThrow() / fastest;
    }

    /** Two independent chains in an order that no vector can take, so that alignment does not matter. */
    private static int loop(int[] values, int loads) {
        int a = 0;
        int b = 0;
        for (int i = 0; i < loads; i++) {
            a += values[i * 7 & 4095];
            b ^= values[i * 13 + 64 & 4095];
        }
        return a + b;
    }
}
