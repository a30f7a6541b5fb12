package dev.heddle.bench.scaling;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.heddle.layers.Layer;
import java.util.function.DoubleSupplier;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class ScalingTest {
    @ParameterizedTest
    @ValueSource(doubles = {-1, 0, 0.5, 1, 2})
    void slopeIsTheExponent(double k) {
        double[] x = {1, 2, 4, 10, 100};
        double[] y = new double[x.length];
        for (int i = 0; i < x.length; i++) {
            y[i] = 3.7 * Math.pow(x[i], k);
        }
        assertEquals(k, Slope.of(x, y), 1e-12);
    }

    /** By hand, in logarithms to base 2: x is -1, 0, 1 from its mean, y is 0, 1, 1; so 1 / 2. */
    @Test
    void slopeIsThatOfLeastSquares() {
        assertEquals(0.5, Slope.of(new double[] {1, 2, 4}, new double[] {1, 2, 2}), 1e-12);
    }

    @Test
    void slopeNeedsTwoPositivePoints() {
        assertThrows(IllegalArgumentException.class, () -> Slope.of(new double[] {1}, new double[] {1}));
        assertThrows(IllegalArgumentException.class, () -> Slope.of(new double[] {1, 2}, new double[] {1}));
        assertThrows(IllegalArgumentException.class, () -> Slope.of(new double[] {2, 2}, new double[] {1, 3}));
        String message = assertThrows(IllegalArgumentException.class, () -> Slope.of(new double[] {1, 2}, new double[] {1, 0})).getMessage();
        assertTrue(message.contains("(2.0, 0.0)"), message);
    }

    @Test
    void sizesAreThoseOfTheNetwork() {
        Sizes mlp = new Sizes("mlp", 2, 8, 3, 1);
        assertEquals(3 * (8 * 8 + 8) + 8 * 10 + 10, mlp.network().parameterCount());
        Sizes gpt = new Sizes("gpt", 2, 32, 1, 4).with("length", 8).with("depth", 2);
        assertEquals(new Sizes("gpt", 2, 32, 2, 8), Sizes.parse(gpt.arguments().toArray(String[]::new), 0));
        int block = 2 * 2 * 32 + 4 * (32 * 32 + 32) + 2 * 4 * 32 * 32 + 4 * 32 + 32; // norms, attention, feed-forward
        assertEquals(256 * 32 + 8 * 32 + 2 * block + 2 * 32, gpt.network().parameterCount());
        assertThrows(IllegalArgumentException.class, () -> gpt.with("height", 1));
    }

    @Test
    void aStepTrains() {
        for (Sizes sizes : new Sizes[] {new Sizes("mlp", 4, 16, 2, 1), new Sizes("gpt", 2, 32, 1, 8)}) {
            Layer network = sizes.network();
            DoubleSupplier step = sizes.step(network, Sizes.optimizer(network));
            double first = step.getAsDouble();
            for (int i = 0; i < 20; i++) {
                step.getAsDouble();
            }
            assertTrue(step.getAsDouble() < first, sizes + " began with loss " + first);
        }
    }
}
