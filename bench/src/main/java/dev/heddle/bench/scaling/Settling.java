// When a warm-up is over: in its first ten seconds a JVM compiles, and a step takes twice as long as it will, or ten times.
package dev.heddle.bench.scaling;

import java.util.ArrayDeque;
import java.util.Deque;

/**
 * Looks at successive batches of steps. They have settled when the last three agree and the JIT has rested meanwhile: while it works, times
 * may stand still for seconds and fall then. A warm-up that does not settle ends too, and what is measured after it says so.
 */
final class Settling {
    private static final int BATCHES = 3;
    /** The slowest of the last batches over the fastest. */
    private static final double AGREE = 1.05;
    /** Of the time of these batches, on one core. */
    private static final double JIT = 0.2;

    private final double least;
    private final double most;
    private final Deque<Batch> last = new ArrayDeque<>();
    private double seconds;

    /**
     * Some steps.
     *
     * @param seconds all of them took
     * @param step what one takes, in any unit
     * @param jit seconds in which methods were compiled meanwhile
     */
    record Batch(double seconds, double step, double jit) {}

    /** {@code least} and {@code most} seconds of a warm-up. */
    Settling(double least, double most) {
        this.least = least;
        this.most = most;
    }

    /** The next batch. */
    void add(Batch batch) {
        seconds += batch.seconds;
        last.addLast(batch);
        if (last.size() > BATCHES) {
            last.removeFirst();
        }
    }

    /** Whether steps take as long as they will. */
    boolean settled() {
        double slowest = last.stream().mapToDouble(Batch::step).max().orElse(Double.NaN);
        double fastest = last.stream().mapToDouble(Batch::step).min().orElse(Double.NaN);
        return seconds >= least && last.size() == BATCHES && slowest <= AGREE * fastest
                && last.stream().mapToDouble(Batch::jit).sum() <= JIT * last.stream().mapToDouble(Batch::seconds).sum();
    }

    /** Whether they have settled, or have had time enough. */
    boolean over() {
        return settled() || seconds >= most;
    }

    /** How long the batches took. */
    double seconds() {
        return seconds;
    }
}
