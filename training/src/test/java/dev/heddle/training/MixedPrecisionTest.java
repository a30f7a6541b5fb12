// Training in 16 bits: updates must not get lost, losses not be rounded, and a run must go on where it was saved.
package dev.heddle.training;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.heddle.engine.DType;
import dev.heddle.engine.Debug;
import dev.heddle.engine.Functional;
import dev.heddle.engine.Generator;
import dev.heddle.engine.Gradients;
import dev.heddle.engine.Shape;
import dev.heddle.engine.ShapeException;
import dev.heddle.engine.Tensor;
import dev.heddle.engine.Variable;
import dev.heddle.layers.BatchNorm1d;
import dev.heddle.layers.Dropout;
import dev.heddle.layers.Init;
import dev.heddle.layers.Layer;
import dev.heddle.layers.Linear;
import dev.heddle.layers.ReLU;
import dev.heddle.layers.Sequential;
import dev.heddle.testing.NoLeaks;
import dev.heddle.testing.TensorAssertions;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.function.BinaryOperator;
import java.util.function.Function;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

@NoLeaks
class MixedPrecisionTest {
    private static final List<DType> HALVES = List.of(DType.BF16, DType.F16);

    @TempDir
    private Path folder;

    private static Sequential classifier() {
        return new Sequential(new Linear(4, 16), new BatchNorm1d(16), new ReLU(), new Dropout(0.3), new Linear(16, 3));
    }

    private static ArrayDataset clusters(int n) {
        Random random = new Random(1);
        float[] values = new float[n * 4];
        long[] labels = new long[n];
        for (int i = 0; i < n; i++) {
            labels[i] = random.nextInt(3);
            for (int k = 0; k < 4; k++) {
                values[4 * i + k] = (float) (random.nextGaussian() + (k == labels[i] ? 3 : 0));
            }
        }
        return ArrayDataset.of(values, Shape.of(4), labels, 3);
    }

    @Test
    void updatesTooSmallForSixteenBitsAddUp() {
        for (DType dtype : HALVES) {
            Variable p = new Variable("p", Tensor.full(1, dtype, 3), true);
            Optimizer sgd = SGD.of(List.of(p)).learningRate(1e-4).build();
            for (int t = 0; t < 100; t++) {
                sgd.step(p.value().sum().backward());
            }
            assertEquals(0.99, p.value().toDoubleArray()[0], 0.002, dtype + ": 100 steps of 1e-4 from 1");
            assertEquals(0.99, sgd.state().get("0.master").toDoubleArray()[0], 1e-5);
        }
    }

    /** With gradients that do not depend on the parameter, a master must go the way of a parameter of 32 bits, bit for bit. */
    @Test
    void theMasterIsWhatAWideParameterWouldBe() {
        Map<String, Function<Variable, Optimizer>> optimizers = new LinkedHashMap<>();
        optimizers.put("sgd", p -> SGD.of(List.of(p)).momentum(0.9).weightDecay(0.1).build());
        optimizers.put("rmsprop", p -> RMSprop.of(List.of(p)).momentum(0.9).build());
        optimizers.put("adam", p -> Adam.of(List.of(p)).weightDecay(0.1).build());
        optimizers.put("adamw", p -> AdamW.of(List.of(p)).clipValue(0.25).build());
        optimizers.forEach((name, make) -> {
            for (DType dtype : HALVES) {
                Tensor start = new Generator(1).randn(5, 7).to(dtype).eval();
                Variable p = new Variable("p", start, true);
                Variable wide = new Variable("wide", start.to(DType.F32), true);
                Optimizer half = make.apply(p);
                Optimizer full = make.apply(wide);
                for (int t = 1; t <= 10; t++) {
                    Tensor slope = new Generator(t).randn(5, 7).to(dtype).eval();
                    half.step(p.value().mul(slope).sum().backward());
                    full.step(wide.value().mul(slope.to(DType.F32)).sum().backward());
                }
                assertArrayEquals(wide.value().toFloatArray(), half.state().get("0.master").toFloatArray(), name + " " + dtype);
                assertArrayEquals(wide.value().to(dtype).toFloatArray(), p.value().toFloatArray(), name + " " + dtype);
            }
        });
    }

    @Test
    void aParameterThatSomebodyElseSetIsTheNewMaster() {
        Variable p = new Variable("p", Tensor.full(1, DType.BF16, 2), true);
        Optimizer sgd = SGD.of(List.of(p)).learningRate(1e-3).build();
        sgd.step(p.value().sum().backward());
        p.set(Tensor.of(1f, 5f).to(DType.BF16)); // the first as it is, the second new
        Variable.settle(List.of(p));
        sgd.step(p.value().sum().backward());
        assertArrayEquals(new double[] {0.998, 4.999}, sgd.state().get("0.master").toDoubleArray(), 1e-6);
    }

    @Test
    void anOptimizerRefusesParametersConvertedBehindItsBack() {
        Linear model = new Linear(2, 2);
        Optimizer sgd = SGD.of(model.parameters()).build();
        model.to(DType.BF16);
        Gradients gradients = model.forward(Tensor.ones(1, 2).to(DType.BF16)).sum().backward();
        assertTrue(assertThrows(IllegalStateException.class, () -> sgd.step(gradients)).getMessage().contains("weight"));
    }

    @Test
    void lossesOfSixteenBitsAreWide() {
        Generator random = new Generator(3);
        Tensor x = random.randn(100, 7).mul(3).eval();
        Tensor y = random.randn(100, 7).sigmoid().eval();
        Tensor labels = random.randint(0, 7, 100).eval();
        Tensor signs = random.randint(0, 2, 100).mul(2).sub(1).to(DType.F32).eval();
        Tensor weights = random.rand(7).eval();
        Map<String, BinaryOperator<Tensor>> losses = new LinkedHashMap<>();
        losses.put("cross_entropy", (a, b) -> Losses.crossEntropy(a, labels));
        losses.put("smoothed", (a, b) -> Losses.crossEntropy(a, labels, 0.1, 3, null));
        losses.put("weighted", (a, b) -> Losses.crossEntropy(a, labels, 0.1, 3, weights));
        losses.put("nll", (a, b) -> Losses.nll(a, labels));
        losses.put("mse", Losses::mse);
        losses.put("l1", Losses::l1);
        losses.put("huber", (a, b) -> Losses.huber(a, b, 0.7));
        losses.put("bce", Losses::bceWithLogits);
        losses.put("kl", Losses::kl);
        losses.put("cosine", (a, b) -> Losses.cosineEmbedding(a, b, signs, 0.1));
        losses.put("triplet", (a, b) -> Losses.triplet(a, b, a.mul(b), 1));
        losses.forEach((name, loss) -> {
            for (DType dtype : HALVES) {
                Tensor a = x.to(dtype).eval();
                Tensor b = y.to(dtype).eval();
                Tensor actual = loss.apply(a, b);
                Tensor expected = loss.apply(a.to(DType.F32), b.to(DType.F32));
                assertEquals(DType.F32, actual.dtype(), name);
                double tolerance = name.equals("triplet") ? 1e-2 : 1e-5; // its third input is rounded
                assertEquals(expected.item(), actual.item(), tolerance * Math.abs(expected.item()), name + " " + dtype);
                Tensor gradient = Gradients.of(loss.apply(a, b), a).getFirst();
                assertEquals(dtype, gradient.dtype(), name);
                Tensor exact = Gradients.of(loss.apply(a.to(DType.F32), b.to(DType.F32)), a).getFirst();
                double largest = exact.abs().max().item();
                TensorAssertions.assertClose(exact.toDoubleArray(), gradient.toDoubleArray(), 0.05, 0.02 * largest, name + " " + dtype);
            }
        });
    }

    @Test
    void crossEntropyStoresNoSecondCopyOfTheLogits() {
        int rows = 256;
        int classes = 3000;
        for (DType dtype : List.of(DType.BF16, DType.F32)) {
            Tensor logits = new Generator(1).randn(rows, classes).to(dtype).eval();
            Tensor labels = new Generator(2).randint(0, classes, rows).eval();
            Tensor loss = Functional.crossEntropy(logits, labels, -100, 0.1).mean();
            Tensor gradient = Gradients.of(loss, logits).getFirst();
            Tensor.eval(loss, gradient);
            long bytes = (long) rows * classes * dtype.bytes();
            assertTrue(Debug.lastPlan().peakBytes() < bytes / 4, () -> dtype + ": " + Debug.lastPlan());
        }
    }

    @Test
    void normsOfSixteenBitGradientsAreWide() {
        for (DType dtype : HALVES) {
            Variable p = new Variable("p", Tensor.full(1, dtype, 2), true);
            Gradients gradients = p.value().mul(Tensor.of(300f, 400f).to(dtype)).sum().backward(); // their squares are no f16
            assertEquals(500, GradientClipping.norm(gradients).item(), 1e-3);
            assertEquals(DType.F32, GradientClipping.norm(gradients).dtype());
            assertArrayEquals(new float[] {0.6f, 0.8f}, GradientClipping.byNorm(gradients, 1).get(p).toFloatArray(), 1e-6f);
        }
    }

    @Test
    void layersConvert() {
        Init.seed(1);
        Sequential model = classifier();
        Sequential wide = classifier();
        wide.loadState(values(model));
        assertEquals(DType.F32, model.dtype());
        model.to(DType.BF16);
        assertEquals(DType.BF16, model.dtype());
        assertEquals(DType.F32, model.state().get("1.running_mean").dtype());
        TensorAssertions.assertClose(wide.state().get("0.weight").value().toDoubleArray(), model.state().get("0.weight").value().toDoubleArray(),
                0x1p-8, 0, "weights are rounded");
        Tensor x = new Generator(1).randn(64, 4);
        for (Layer part : List.of(model, wide)) {
            part.children().get("1").forward(part.children().get("0").forward(x.to(part.dtype()))); // moves the statistics
            part.eval();
        }
        assertEquals(DType.BF16, model.forward(x.to(DType.BF16)).dtype());
        TensorAssertions.assertClose(wide.forward(x).toDoubleArray(), model.forward(x.to(DType.BF16)).toDoubleArray(), 0.05, 0.05, "outputs");
        TensorAssertions.assertClose(wide.state().get("1.running_var").value().toDoubleArray(),
                model.state().get("1.running_var").value().toDoubleArray(), 0.01, 0, "statistics");
        assertTrue(model.summary(5, 4).contains("(5, 3)"));
        assertThrows(ShapeException.class, () -> model.to(DType.I64));
    }

    private static Map<String, Tensor> values(Layer model) {
        Map<String, Tensor> values = new LinkedHashMap<>();
        model.state().forEach((name, variable) -> values.put(name, variable.value()));
        return values;
    }

    @Test
    void statesOfAnotherFloatAreConverted() {
        Path file = folder.resolve("wide.safetensors");
        Sequential wide = classifier();
        Checkpoint.save(file, wide, null, null, 1, Map.of());
        Sequential half = classifier();
        half.to(DType.BF16);
        Checkpoint.load(file, half, null, null);
        wide.state().forEach((name, variable) -> assertArrayEquals(variable.value().to(half.state().get(name).dtype()).toFloatArray(),
                half.state().get(name).value().toFloatArray(), name));
        Map<String, Tensor> wrong = values(wide);
        wrong.put("0.bias", Tensor.arange(16));
        assertThrows(ShapeException.class, () -> half.loadState(wrong));
    }

    @Test
    void trainingInSixteenBitsComesAsFar() {
        double[] losses = new double[3];
        for (DType dtype : List.of(DType.F32, DType.BF16)) {
            Init.seed(3);
            Sequential model = classifier();
            model.to(dtype);
            Optimizer optimizer = Adam.of(model.parameters()).learningRate(0.01).clipNorm(1).build();
            History history = Trainer.of(model, optimizer, Losses::crossEntropy).validation(DataLoader.of(clusters(200), 50), 3)
                    .fit(DataLoader.of(clusters(200), 16).shuffle(9), 8);
            losses[dtype.ordinal()] = history.last().validation().loss();
        }
        assertEquals(losses[DType.F32.ordinal()], losses[DType.BF16.ordinal()], 0.03);
        assertTrue(losses[DType.BF16.ordinal()] < 0.25, () -> "loss " + losses[DType.BF16.ordinal()]);
    }

    @Test
    void aResumedRunGivesTheBitsOfOneThatWentOn() {
        Path file = folder.resolve("run.safetensors");
        Init.seed(7);
        Sequential model = classifier();
        model.to(DType.BF16);
        Optimizer optimizer = Adam.of(model.parameters()).learningRate(1e-3).build();
        Trainer.of(model, optimizer, Losses::crossEntropy).afterEpoch(epoch -> {
            if (epoch.number() == 2) {
                Checkpoint.save(file, model, optimizer, Init.generator(), 2, Map.of());
            }
        }).fit(DataLoader.of(clusters(100), 16).shuffle(9), 4);

        Init.seed(1234);
        Sequential other = classifier();
        other.to(DType.BF16);
        Optimizer resumed = Adam.of(other.parameters()).build();
        Checkpoint.load(file, other, resumed, Init.generator());
        DataLoader loader = DataLoader.of(clusters(100), 16).shuffle(9);
        loader.epoch(2);
        Trainer.of(other, resumed, Losses::crossEntropy).fit(loader, 2);
        model.state().forEach((name, variable) ->
                assertArrayEquals(variable.value().toFloatArray(), other.state().get(name).value().toFloatArray(), name));
        optimizer.state().forEach((name, tensor) -> assertArrayEquals(tensor.toDoubleArray(), resumed.state().get(name).toDoubleArray(), name));
    }
}
