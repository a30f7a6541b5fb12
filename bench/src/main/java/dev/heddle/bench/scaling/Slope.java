// The exponent of a power law: the slope of a straight line through points with logarithmic axes.
package dev.heddle.bench.scaling;

/** Least squares. */
final class Slope {
    private Slope() {}

    /**
     * The {@code k} of {@code y = c x^k} that fits best: 1 if twice as much takes twice as long, 2 if it takes four times as long.
     *
     * @param x positive, not all the same
     * @param y positive, as many
     * @throws IllegalArgumentException otherwise
     */
    static double of(double[] x, double[] y) {
        if (x.length != y.length || x.length < 2) {
            throw new IllegalArgumentException("slope: " + x.length + " and " + y.length + " values; two points or more are needed");
        }
        double meanX = 0;
        double meanY = 0;
        for (int i = 0; i < x.length; i++) {
            if (!(x[i] > 0 && y[i] > 0)) {
                throw new IllegalArgumentException("slope: (" + x[i] + ", " + y[i] + ") has no logarithm");
            }
            meanX += Math.log(x[i]) / x.length;
            meanY += Math.log(y[i]) / x.length;
        }
        double covariance = 0;
        double variance = 0;
        for (int i = 0; i < x.length; i++) {
            double dx = Math.log(x[i]) - meanX;
            covariance += dx * (Math.log(y[i]) - meanY);
            variance += dx * dx;
        }
        if (!(variance > 0)) {
            throw new IllegalArgumentException("slope: all points are at " + x[0]);
        }
        return covariance / variance;
    }
}
