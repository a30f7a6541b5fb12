// How a learning rate changes while a model trains.
package dev.heddle.training;

/**
 * The learning rate at each step, counted from 0. Set it before the step: {@code optimizer.learningRate(schedule.at(step))}.
 */
@FunctionalInterface
public interface Schedule {
    /** The learning rate at a step. */
    double at(long step);

    /** Always the same. */
    static Schedule constant(double rate) {
        return step -> rate;
    }

    /** {@code rate} falling to {@code last} along half a cosine over {@code steps}, then staying (Loshchilov and Hutter, 2017). */
    static Schedule cosine(double rate, double last, long steps) {
        requirePositive("cosine", steps);
        return step -> last + (rate - last) * (1 + Math.cos(Math.PI * Math.min(step, steps) / steps)) / 2;
    }

    /** {@code rate} going to {@code last} on a straight line over {@code steps}, then staying. */
    static Schedule linear(double rate, double last, long steps) {
        return polynomial(rate, last, steps, 1);
    }

    /** {@code last + (rate - last) (1 - step / steps)^power}, then {@code last}. */
    static Schedule polynomial(double rate, double last, long steps, double power) {
        requirePositive("polynomial", steps);
        return step -> last + (rate - last) * Math.pow(1 - (double) Math.min(step, steps) / steps, power);
    }

    /** {@code rate} times {@code factor} after each {@code every} steps. */
    static Schedule steps(double rate, double factor, long every) {
        requirePositive("steps", every);
        return step -> rate * Math.pow(factor, step / every);
    }

    /**
     * Up from {@code rate / 25} to {@code rate} in the first 30% of the steps, down to {@code rate / 250000} in the rest, both along
     * half a cosine (Smith and Topin, 2018, with the constants that became usual).
     */
    static Schedule oneCycle(double rate, long steps) {
        requirePositive("one cycle", steps);
        long up = Math.max(1, Math.round(0.3 * steps));
        Schedule rise = cosine(rate / 25, rate, up);
        Schedule fall = cosine(rate, rate / 250_000, Math.max(1, steps - up));
        return step -> step < up ? rise.at(step) : fall.at(step - up);
    }

    /** This schedule behind {@code steps} in which the rate rises from nearly 0 to where this begins, on a straight line. */
    default Schedule warmUp(long steps) {
        return step -> step < steps ? at(0) * (step + 1) / steps : at(step - steps);
    }

    private static void requirePositive(String what, long steps) {
        if (steps < 1) {
            throw new IllegalArgumentException("schedule: " + what + " over " + steps + " steps");
        }
    }

    /** Lowers the rate when a measure has stopped getting better. */
    final class Plateau {
        private final double factor;
        private final int patience;
        private double rate;
        private double best = Double.POSITIVE_INFINITY;
        private int bad;

        /** Times {@code factor} when more than {@code patience} measures in a row were no better than the best before. */
        public Plateau(double rate, double factor, int patience) {
            if (!(factor > 0 && factor < 1) || patience < 0) {
                throw new IllegalArgumentException("plateau: factor " + factor + ", patience " + patience);
            }
            this.rate = rate;
            this.factor = factor;
            this.patience = patience;
        }

        /** Takes a measure, smaller being better; gives the rate to go on with. */
        public double next(double measure) {
            if (measure < best) {
                best = measure;
                bad = 0;
            } else if (++bad > patience) {
                rate *= factor;
                bad = 0;
            }
            return rate;
        }
    }
}
