package dev.heddle.bench.scaling;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.heddle.layers.Layer;
import java.util.List;
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

    /** Feeds batches of half a second, each a step's time and the JIT's seconds, until the warm-up is over. */
    private static Settling warmUp(double[]... batches) {
        Settling settling = new Settling(1.5, 10);
        for (int i = 0; !settling.over(); i++) {
            double[] batch = batches[Math.min(i, batches.length - 1)];
            settling.add(new Settling.Batch(0.5, batch[0], batch[1]));
        }
        return settling;
    }

    @Test
    void steadyStepsHaveSettledAtOnce() {
        Settling settling = warmUp(new double[] {8, 0});
        assertTrue(settling.settled());
        assertEquals(1.5, settling.seconds(), 1e-9);
    }

    @Test
    void fallingStepsHaveNotSettled() {
        Settling settling = warmUp(new double[] {100, 0}, new double[] {60, 0}, new double[] {45, 0}, new double[] {44, 0}, new double[] {20, 0}, new double[] {12, 0},
                new double[] {11.5, 0}, new double[] {11.6, 0});
        assertTrue(settling.settled());
        assertEquals(8 * 0.5, settling.seconds(), 1e-9);
    }

    /** What a JVM does: for seconds all steps are as slow, for the code that is to replace theirs is still being compiled. */
    @Test
    void stepsThatWaitForTheJitHaveNotSettled() {
        Settling settling = warmUp(new double[] {8, 0.45}, new double[] {8, 0.4}, new double[] {8, 0.3}, new double[] {8, 0.4}, new double[] {4.6, 0.2},
                new double[] {4.5, 0.1}, new double[] {4.5, 0.05}, new double[] {4.5, 0});
        assertTrue(settling.settled());
        assertEquals(8 * 0.5, settling.seconds(), 1e-9, "3 batches with a fifth of 1.5 s");
    }

    @Test
    void aWarmUpEndsAnyway() {
        Settling settling = warmUp(new double[] {8, 0}, new double[] {10, 0}, new double[] {8, 0}, new double[] {10, 0}, new double[] {8, 0}, new double[] {10, 0},
                new double[] {5, 0.4});
        assertFalse(settling.settled(), "the JIT never rests");
        assertEquals(10, settling.seconds(), 1e-9);
        Settling unsteady = new Settling(0, 3);
        for (int i = 0; !unsteady.over(); i++) {
            unsteady.add(new Settling.Batch(1, 8 + i % 2, 0));
        }
        assertFalse(unsteady.settled(), "9 is more than 5% over 8");
        assertFalse(new Settling(0, 3).settled(), "nothing was run");
    }

    @Test
    void slowBatchesCountByTheirTime() {
        Settling settling = new Settling(1.5, 10);
        for (int i = 0; i < 2; i++) {
            settling.add(new Settling.Batch(4, 800, 0));
            assertFalse(settling.over());
        }
        settling.add(new Settling.Batch(4, 820, 0));
        assertTrue(settling.settled(), "2.5% over, and three batches");
    }

    @Test
    void quantilesAreValuesOfTheList() {
        List<Double> values = List.of(5.0, 1.0, 4.0, 2.0, 3.0);
        assertEquals(2, ScalingWorker.quantile(values, 0.25));
        assertEquals(3, ScalingWorker.median(values));
        assertEquals(4, ScalingWorker.quantile(values, 0.75));
        assertEquals(7, ScalingWorker.quantile(List.of(7.0), 0.25));
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
