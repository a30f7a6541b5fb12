// One ratio that must not fall below a bound.
package dev.heddle.bench.guard;

import java.io.IOException;
import java.io.PrintWriter;
import java.util.Arrays;
import java.util.Locale;
import java.util.function.LongSupplier;

/**
 * What is compared, what the ratio must reach, and how it is measured.
 *
 * @param bound about half of what is usual, so that a regression of half is seen and a busy machine is not
 */
record Check(String name, double bound, Measurement measurement) {
    /** Measures a ratio. */
    @FunctionalInterface
    interface Measurement {
        double ratio() throws IOException;
    }

    /** Measures, once more if the ratio is too low, and says what came of it. */
    boolean holds(PrintWriter out) throws IOException {
        double ratio = measurement.ratio();
        if (!(ratio >= bound)) { // so for NaN
            out.printf(Locale.ROOT, "%s: %.2f is below %.2f, measuring again%n", name, ratio, bound);
            out.flush();
            ratio = measurement.ratio();
        }
        boolean holds = ratio >= bound;
        out.printf(Locale.ROOT, "%s: %s: %.2f, at least %.2f%n", holds ? "ok" : "FAILED", name, ratio, bound);
        out.flush();
        return holds;
    }

    /**
     * How many times as long one thing takes as another: both are run in turns, and the median of the rounds' ratios is taken, so that
     * what else happens on the machine meets both.
     *
     * @param seconds of a round, for each of the two; the warm-up takes ten times as long
     * @param clock in nanoseconds
     */
    static double ratioOfTimes(Runnable slow, Runnable fast, int rounds, double seconds, LongSupplier clock) {
        time(slow, 10 * seconds, clock);
        time(fast, 10 * seconds, clock);
        double[] ratios = new double[rounds];
        for (int i = 0; i < rounds; i++) {
            ratios[i] = time(slow, seconds, clock) / time(fast, seconds, clock);
        }
        Arrays.sort(ratios);
        return ratios[rounds / 2];
    }

    /** Nanoseconds of a run, the least of those that fit into so many seconds: others who use the machine only ever make it longer. */
    private static double time(Runnable work, double seconds, LongSupplier clock) {
        long end = clock.getAsLong() + (long) (seconds * 1e9);
        long least = Long.MAX_VALUE;
        do {
            long start = clock.getAsLong();
            work.run();
            least = Math.min(least, clock.getAsLong() - start);
        } while (clock.getAsLong() < end);
        return Math.max(1, least);
    }
}
