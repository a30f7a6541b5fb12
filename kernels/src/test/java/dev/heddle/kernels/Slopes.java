// Checks recorded gradients by finite differences.
package dev.heddle.kernels;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.heddle.engine.ReferenceEvaluation;
import dev.heddle.engine.Tensor;
import dev.heddle.testing.TensorAssertions;
import java.util.List;

/** In one direction. */
final class Slopes {
    private static final double H = 1e-6;

    private Slopes() {}

    private static double direction(int i) {
        return i % 3 - 0.7;
    }

    /** Compares the gradient of a scalar for a leaf, in the reference, with finite differences, and the device's with that. */
    static void compare(Tensor loss, Tensor leaf, Tensor gradient) {
        double[] exact = (double[]) ReferenceEvaluation.evaluate(gradient).getFirst();
        double expected = (moved(loss, leaf, H) - moved(loss, leaf, -H)) / (2 * H);
        double slope = 0;
        for (int i = 0; i < exact.length; i++) {
            slope += exact[i] * direction(i);
        }
        assertEquals(expected, slope, 1e-5 * Math.max(1, Math.abs(expected)), "slope");
        TensorAssertions.assertClose(exact, gradient.toDoubleArray(), 1e-4, 1e-4, "gradient on the device");
    }

    private static double moved(Tensor loss, Tensor leaf, double by) {
        double[] values = leaf.toDoubleArray();
        for (int i = 0; i < values.length; i++) {
            values[i] += by * direction(i);
        }
        return ((double[]) ReferenceEvaluation.evaluate(List.of(loss), leaf, values).getFirst())[0];
    }
}
