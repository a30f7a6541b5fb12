// Recomputing must change memory and nothing else: not a bit of losses, gradients, masks or statistics.
package dev.heddle.layers;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.heddle.engine.Debug;
import dev.heddle.engine.Functional;
import dev.heddle.engine.Generator;
import dev.heddle.engine.Gradients;
import dev.heddle.engine.Tensor;
import dev.heddle.engine.Variable;
import dev.heddle.testing.NoLeaks;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Supplier;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

@NoLeaks
class RecomputeTest {
    @AfterEach
    void switchesBack() {
        Debug.eager(false);
        Debug.fusion(true);
    }

    /** What two training steps of plain gradient descent give, and the scratch memory of the second. */
    private record Run(List<Double> losses, Map<String, float[]> state, long peak) {}

    private static Run run(Layer model, Supplier<Tensor> loss) {
        List<Double> losses = new ArrayList<>();
        long peak = 0;
        for (int step = 0; step < 2; step++) {
            Tensor value = loss.get();
            Gradients gradients = value.backward();
            model.parameters().forEach(p -> p.set(p.value().sub(gradients.get(p).mul(0.1))));
            Variable.settle(model.parameters());
            peak = Debug.lastPlan().peakBytes();
            losses.add(value.item());
        }
        Map<String, float[]> state = new LinkedHashMap<>();
        model.state().forEach((name, variable) -> state.put(name, variable.value().toFloatArray()));
        return new Run(losses, state, peak);
    }

    private static void assertSame(Run expected, Run actual) {
        assertEquals(expected.losses, actual.losses);
        assertEquals(expected.state.keySet(), actual.state.keySet());
        expected.state.forEach((name, values) -> assertArrayEquals(values, actual.state.get(name), name));
    }

    private static Run mlp(boolean recomputed, boolean dropout) {
        Init.seed(3);
        Layer[] blocks = new Layer[12];
        for (int i = 0; i < blocks.length; i++) {
            Layer block = new Sequential(new Linear(16, 64), new BatchNorm1d(64), new GELU(), new Dropout(dropout ? 0.2 : 0), new Linear(64, 16));
            blocks[i] = recomputed ? Recompute.of(block) : block;
        }
        Sequential model = new Sequential(blocks);
        Tensor x = new Generator(1).randn(128, 16).eval();
        return run(model, () -> model.forward(x).square().mean());
    }

    @Test
    void aDeepNetworkNeedsLessMemoryAndGivesTheSameBits() {
        for (boolean dropout : new boolean[] {false, true}) {
            Run plain = mlp(false, dropout);
            Run recomputed = mlp(true, dropout);
            assertSame(plain, recomputed);
            assertTrue(recomputed.peak < plain.peak / 2, recomputed.peak + " bytes against " + plain.peak);
        }
    }

    @Test
    void aGptNeedsLessMemoryAndGivesTheSameBits() {
        Run[] runs = new Run[2];
        for (int i = 0; i < 2; i++) {
            Init.seed(3);
            Gpt model = new Gpt(new Gpt.Config(11, 16, 4, 2, 16, 0.1)).recompute(i == 1);
            Tensor x = new Generator(1).randint(0, 11, 4, 16).eval();
            runs[i] = run(model, () -> model.loss(x, x));
        }
        assertSame(runs[0], runs[1]);
        assertTrue(runs[1].peak < runs[0].peak * 0.6, runs[1].peak + " bytes against " + runs[0].peak);
    }

    @Test
    void withoutFusionAndEagerlyToo() {
        Run expected = mlp(false, true);
        Debug.fusion(false);
        assertSame(expected, mlp(true, true));
        Debug.eager(true);
        assertSame(expected, mlp(true, true));
    }

    @Test
    void whatAFunctionUsesBesidesItsInputHasGradients() {
        Variable w = new Variable("w", new Generator(1).randn(5, 5), true);
        Variable v = new Variable("v", new Generator(2).randn(5, 5), true);
        double[][][] results = new double[2][2][];
        for (int i = 0; i < 2; i++) {
            Tensor memory = v.value().exp(); // computed before, with a gradient of its own
            java.util.function.UnaryOperator<Tensor> f = x -> x.matmul(w.value()).tanh().mul(memory).add(memory.tanh()).add(x);
            Tensor x = v.value().mul(2);
            Tensor y = i == 0 ? f.apply(x) : Functional.recompute(f, x);
            Gradients gradients = y.square().sum().backward();
            results[i] = new double[][] {gradients.get(w).toDoubleArray(), gradients.get(v).toDoubleArray()};
        }
        assertArrayEquals(results[0][0], results[1][0], 1e-4);
        assertArrayEquals(results[0][1], results[1][1], 1e-4);
        Tensor x = Tensor.of(1f, 2f);
        assertEquals(x, Functional.recompute(y -> y, x));
        Tensor square = Gradients.of(Functional.recompute(y -> y.mul(w.value().sum()), x).square().sum(), x).getFirst();
        double sum = w.value().sum().item();
        assertArrayEquals(new double[] {2 * sum * sum, 4 * sum * sum}, square.toDoubleArray(), 1e-3 * sum * sum);
    }

    @Test
    void aLayerAroundAnotherHasItsNamesAndMode() {
        Sequential inner = new Sequential(new Linear(2, 3), new Dropout(0.5));
        Layer outer = Recompute.of(inner);
        assertEquals(inner.state().keySet(), outer.state().keySet());
        outer.eval();
        assertFalse(inner.training() || inner.children().get("1").training());
        assertArrayEquals(inner.forward(Tensor.ones(1, 2)).toFloatArray(), outer.forward(Tensor.ones(1, 2)).toFloatArray());
        outer.train();
        assertTrue(inner.training());
    }
}
