// What layers promise beyond the functions they call: state, modes, names, initial values, messages.
package dev.heddle.layers;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.heddle.engine.Functional;
import dev.heddle.engine.Generator;
import dev.heddle.engine.Shape;
import dev.heddle.engine.ShapeException;
import dev.heddle.engine.Tensor;
import dev.heddle.engine.Variable;
import dev.heddle.testing.NoLeaks;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

@NoLeaks
class LayersTest {
    @BeforeEach
    void seed() {
        Init.seed(1);
    }

    private static Sequential model() {
        return new Sequential(Conv2d.of(1, 4, 3).samePadding().build(), new BatchNorm2d(4), new ReLU(), new MaxPool2d(2), new Flatten(),
                new Linear(4 * 4 * 4, 10), new LogSoftmax());
    }

    @Test
    void parametersAndBuffersHavePaths() {
        assertEquals(List.of("0.weight", "0.bias", "1.weight", "1.bias", "5.weight", "5.bias"), List.copyOf(model().namedParameters().keySet()));
        assertEquals(List.of("1.running_mean", "1.running_var"), List.copyOf(model().namedBuffers().keySet()));
        assertEquals(40 + 8 + 650, model().parameterCount());
    }

    @Test
    void theSummaryShowsShapesWithoutComputing() {
        String summary = model().summary(2, 1, 8, 8);
        assertTrue(summary.contains("(2, 4, 8, 8)") && summary.contains("(2, 10)") && summary.contains("650") && summary.contains("698 parameters"), summary);
    }

    @Test
    void theSameSeedGivesTheSameModel() {
        Tensor x = new Generator(5).randn(2, 1, 8, 8);
        float[] first = model().forward(x).toFloatArray();
        Init.seed(1);
        assertArrayEquals(first, model().forward(x).toFloatArray());
    }

    @Test
    void convolutionOptions() {
        Tensor x = Tensor.zeros(2, 4, 9, 7);
        assertEquals(Shape.of(2, 6, 5, 4), Conv2d.of(4, 6, 3).stride(2).padding(1).groups(2).build().forward(x).shape());
        assertEquals(Shape.of(2, 6, 9, 7), Conv2d.of(4, 6, 4).samePadding().bias(false).build().forward(x).shape());
        assertEquals(Shape.of(2, 5, 7), Conv1d.of(4, 5, 3).dilation(2).padding(1, 2).build().forward(Tensor.zeros(2, 4, 8)).shape());
        assertEquals(Shape.of(2, 3, 18, 14), new ConvTranspose2d(4, 3, 4, 2, 1).forward(x).shape());
        assertThrows(IllegalArgumentException.class, () -> Conv2d.of(4, 6, 3).groups(3).build());
        assertThrows(ShapeException.class, () -> new Conv2d(3, 6, 3).forward(x));
    }

    @Test
    void batchNormFollowsTheBatchAndKeepsRunningStatistics() {
        BatchNorm2d layer = new BatchNorm2d(3);
        double mean = 0;
        double var = 1;
        for (int step = 0; step < 3; step++) {
            Tensor x = new Generator(step).randn(4, 3, 5, 5).mul(2).add(1).eval();
            float[] values = x.toFloatArray();
            double[] channel = IntStream.range(0, values.length).filter(i -> i / 25 % 3 == 1).mapToDouble(i -> values[i]).toArray();
            double m = java.util.Arrays.stream(channel).average().orElseThrow();
            double v = java.util.Arrays.stream(channel).map(c -> (c - m) * (c - m)).average().orElseThrow();
            float[] y = layer.forward(x).toFloatArray();
            assertEquals((values[25] - m) / Math.sqrt(v + 1e-5), y[25], 1e-4);
            mean = 0.9 * mean + 0.1 * m;
            var = 0.9 * var + 0.1 * v * 100 / 99;
        }
        assertEquals(mean, layer.runningMean().value().toFloatArray()[1], 1e-5);
        assertEquals(var, layer.runningVar().value().toFloatArray()[1], 1e-4);
        layer.eval();
        Tensor x = Tensor.ones(1, 3, 2, 2);
        assertEquals((1 - mean) / Math.sqrt(var + 1e-5), layer.forward(x).toFloatArray()[4], 1e-4);
        assertThrows(ShapeException.class, () -> layer.forward(Tensor.zeros(1, 4, 2, 2)));
        assertThrows(ShapeException.class, () -> new BatchNorm1d(3).forward(Tensor.zeros(1, 3)));
    }

    @Test
    void dropoutDropsOnlyInTraining() {
        Dropout layer = new Dropout(0.25, new Generator(3));
        Tensor x = Tensor.ones(10_000);
        float[] y = layer.forward(x).toFloatArray();
        long dropped = IntStream.range(0, y.length).filter(i -> y[i] == 0).count();
        assertEquals(2500, dropped, 150);
        assertEquals(1 / 0.75, IntStream.range(0, y.length).mapToDouble(i -> y[i]).max().orElseThrow(), 1e-6);
        assertFalse(java.util.Arrays.equals(y, layer.forward(x).toFloatArray()));
        layer.eval();
        assertSame(x, layer.forward(x));
        assertThrows(IllegalArgumentException.class, () -> new Dropout(1));
    }

    @Test
    void initialValuesHaveTheirDistributions() {
        assertStatistics(Init.kaimingNormal(Math.sqrt(2), 256, 128), 0, Math.sqrt(2.0 / 128));
        assertStatistics(Init.kaimingUniform(1, 256, 16, 3, 3), 0, Math.sqrt(1.0 / 144));
        assertStatistics(Init.xavierUniform(1, 300, 100), 0, Math.sqrt(2.0 / 400));
        assertStatistics(Init.xavierNormal(1, 300, 100), 0, Math.sqrt(2.0 / 400));
        assertStatistics(Init.uniform(-1, 3, 40_000), 1, 4 / Math.sqrt(12));
        Tensor truncated = Init.truncatedNormal(1, 0.5, 40_000);
        assertStatistics(truncated, 1, 0.5 * 0.8796);
        assertTrue(truncated.sub(1).abs().max().item() <= 1.0001);
        Tensor weight = new Linear(64, 32).weight().value();
        assertTrue(weight.abs().max().item() <= 0.125 && weight.abs().max().item() > 0.12);
        assertThrows(ShapeException.class, () -> Init.xavierNormal(1, 5));
    }

    private static void assertStatistics(Tensor x, double mean, double std) {
        assertEquals(mean, x.mean().item(), 0.03 * std + 0.005);
        assertEquals(std, x.variance(false, false).sqrt().item(), 0.03 * std);
    }

    @Test
    void orthogonalRowsAreOrthonormal() {
        for (long[] shape : new long[][] {{5, 9}, {9, 5}, {4, 3, 2}}) {
            Tensor q = Init.orthogonal(2, shape).flatten(1, -1);
            Tensor gram = q.dim(0) <= q.dim(1) ? q.matmul(q.t()) : q.t().matmul(q);
            assertTrue(gram.sub(Tensor.eye(gram.dim(0)).mul(4)).abs().max().item() < 1e-5);
        }
    }

    @Test
    void stateIsLoadedWholeOrNotAtAll() {
        Layer model = model();
        Map<String, Tensor> state = new LinkedHashMap<>();
        model.state().forEach((name, variable) -> state.put(name, variable.value().mul(2).add(1).eval()));
        float[] before = first(model).toFloatArray();
        Map<String, Tensor> missing = new LinkedHashMap<>(state);
        Tensor taken = missing.remove("5.bias");
        missing.put("x", taken);
        String message = assertThrows(IllegalArgumentException.class, () -> model.loadState(missing)).getMessage();
        assertTrue(message.contains("missing 5.bias") && message.contains("unexpected x"), message);
        Map<String, Tensor> wrong = new LinkedHashMap<>(state);
        wrong.put("5.bias", Tensor.zeros(3));
        assertThrows(ShapeException.class, () -> model.loadState(wrong));
        assertArrayEquals(before, first(model).toFloatArray());
        model.loadState(state);
        assertEquals(2 * before[0] + 1, first(model).toFloatArray()[0], 1e-6);
    }

    private static Tensor first(Layer model) {
        return model.parameters().iterator().next().value();
    }

    @Test
    void normsAndEmbeddingsAndActivations() {
        Tensor x = new Generator(2).randn(4, 6);
        assertEquals(0, new LayerNorm(6).forward(x).mean(1).abs().max().item(), 1e-5);
        assertEquals(1, new RmsNorm(6).forward(x).square().mean(1).max().item(), 1e-4);
        assertEquals(0, new GroupNorm(2, 6).forward(x.reshape(4, 6, 1)).reshape(4, 2, 3).mean(2).abs().max().item(), 1e-5);
        Embedding table = new Embedding(5, 3);
        assertArrayEquals(table.weight().value().select(0, 4).toFloatArray(), table.forward(Tensor.of(new long[] {4, 0}, 2)).select(0, 0).toFloatArray());
        Tensor two = Tensor.of(-2f, 2f);
        Map<Layer, float[]> expected = new LinkedHashMap<>();
        expected.put(new ReLU(), new float[] {0, 2});
        expected.put(new LeakyReLU(), new float[] {-0.02f, 2});
        expected.put(new GELU(), new float[] {-0.0455003f, 1.9544997f});
        expected.put(new GELUTanh(), new float[] {-0.0454023f, 1.9545977f});
        expected.put(new SiLU(), new float[] {-0.2384058f, 1.7615942f});
        expected.put(new Sigmoid(), new float[] {0.1192029f, 0.8807971f});
        expected.put(new Tanh(), new float[] {-0.9640276f, 0.9640276f});
        expected.put(new ELU(), new float[] {-0.8646647f, 2});
        expected.put(new Softplus(), new float[] {0.1269280f, 2.1269280f});
        expected.put(new Softmax(), new float[] {0.0179862f, 0.9820138f});
        expected.put(new LogSoftmax(), new float[] {-4.0181499f, -0.0181499f});
        expected.put(new Mish(), new float[] {-0.2525015f, 1.9439590f});
        expected.put(new Hardswish(), new float[] {-0.3333333f, 1.6666667f});
        expected.forEach((layer, values) -> assertArrayEquals(values, layer.forward(two).toFloatArray(), 2e-6f, layer.toString()));
    }

    @Test
    void aFrozenLayerGetsNoGradient() {
        Sequential model = new Sequential(new Linear(3, 4), new Linear(4, 2));
        model.children().get("0").parameters().forEach(p -> p.trainable(false));
        var gradients = model.forward(Tensor.ones(1, 3)).sum().backward();
        assertEquals(2, gradients.variables().size());
        for (Variable p : gradients.variables()) {
            assertEquals(p.shape(), gradients.get(p).shape());
        }
    }

    @Test
    void adaptivePoolingGivesTheSizeAsked() {
        assertEquals(Shape.of(2, 3, 2, 4), new AdaptiveAvgPool2d(2, 4).forward(Tensor.zeros(2, 3, 7, 7)).shape());
        assertEquals(Functional.avgPool2d(Tensor.ones(1, 1, 4, 4), 2, 2, 0, true).shape(), new AvgPool2d(2).forward(Tensor.ones(1, 1, 4, 4)).shape());
        assertThrows(IllegalArgumentException.class, () -> new MaxPool2d(2, 1, 2));
    }
}
