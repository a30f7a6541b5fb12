// Comparing tensors in tests.
package dev.heddle.testing;

import dev.heddle.engine.Tensor;

/** Assertions whose messages name the worst element. */
public final class TensorAssertions {
    private TensorAssertions() {}

    /**
     * Fails unless each element differs from the expected one by at most {@code atol + rtol |expected|}. NaN equals NaN.
     *
     * @param expected row-major
     */
    public static void assertClose(double[] expected, double[] actual, double rtol, double atol, String what) {
        if (expected.length != actual.length) {
            throw new AssertionError(what + ": " + actual.length + " elements, expected " + expected.length);
        }
        int worst = -1;
        double excess = 0;
        for (int i = 0; i < expected.length; i++) {
            double e = expected[i];
            double a = actual[i];
            if (e == a || Double.isNaN(e) && Double.isNaN(a)) {
                continue;
            }
            double over = Math.abs(e - a) / (atol + rtol * Math.abs(e));
            if (!(over <= 1) && (worst < 0 || !(over <= excess))) {
                worst = i;
                excess = over;
            }
        }
        if (worst >= 0) {
            throw new AssertionError(what + ": element " + worst + " is " + actual[worst] + ", expected " + expected[worst]
                    + " (tolerance " + (atol + rtol * Math.abs(expected[worst])) + ")");
        }
    }

    /** The same for the values of two tensors, whose shapes must be equal. */
    public static void assertClose(Tensor expected, Tensor actual, double rtol, double atol) {
        if (!expected.shape().equals(actual.shape())) {
            throw new AssertionError("shape " + actual.shape() + ", expected " + expected.shape());
        }
        assertClose(expected.toDoubleArray(), actual.toDoubleArray(), rtol, atol, actual.spec().toString());
    }
}
