// The average of weights against its formula; that the model has it only while asked; and that it is saved.
package dev.heddle.training;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.heddle.engine.DType;
import dev.heddle.engine.Debug;
import dev.heddle.engine.Generator;
import dev.heddle.engine.Shape;
import dev.heddle.engine.Tensor;
import dev.heddle.engine.Variable;
import dev.heddle.engine.memory.NativeMemory;
import dev.heddle.layers.BatchNorm1d;
import dev.heddle.layers.Init;
import dev.heddle.layers.Layer;
import dev.heddle.layers.Linear;
import dev.heddle.layers.Sequential;
import dev.heddle.testing.NoLeaks;
import dev.heddle.testing.TensorAssertions;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

@NoLeaks
class ExponentialMovingAverageTest {
    @TempDir
    private Path folder;

    private static Sequential model() {
        Init.seed(1);
        return new Sequential(new Linear(4, 8), new BatchNorm1d(8), new Linear(8, 3));
    }

    private static void step(Layer model, Optimizer optimizer, int seed) {
        Tensor x = new Generator(seed).randn(16, 4).to(model.dtype());
        optimizer.step(Losses.crossEntropy(model.forward(x), new Generator(seed).randint(0, 3, 16)).backward());
    }

    private static Map<String, double[]> values(Layer model) {
        Map<String, double[]> values = new LinkedHashMap<>();
        model.state().forEach((name, variable) -> values.put(name, variable.value().toDoubleArray()));
        return values;
    }

    private static void assertSame(Map<String, double[]> expected, Map<String, double[]> actual) {
        expected.forEach((name, value) -> assertArrayEquals(value, actual.get(name), name));
    }

    @Test
    void followsItsFormulaAndIsThereOnlyWhileAsked() {
        for (DType dtype : List.of(DType.F32, DType.BF16)) {
            Sequential model = model();
            model.to(dtype);
            Optimizer optimizer = Adam.of(model.parameters()).learningRate(0.1).build();
            ExponentialMovingAverage average = new ExponentialMovingAverage(model, 0.9);
            Map<String, double[]> expected = values(model);
            for (int t = 0; t < 6; t++) {
                step(model, optimizer, t);
                average.update();
                values(model).forEach((name, now) -> {
                    double[] mean = expected.get(name);
                    for (int i = 0; i < now.length; i++) {
                        mean[i] = 0.9 * mean[i] + 0.1 * now[i];
                    }
                });
            }
            expected.forEach((name, mean) -> TensorAssertions.assertClose(mean, average.state().get(name).toDoubleArray(), 1e-5, 1e-6, name));
            Map<String, double[]> own = values(model);
            average.with(() -> values(model).forEach((name, value) ->
                    TensorAssertions.assertClose(expected.get(name), value, dtype == DType.F32 ? 1e-5 : 0x1p-8, 1e-6, name)));
            assertSame(own, values(model));
            assertThrows(IllegalStateException.class, () -> average.with(() -> {
                throw new IllegalStateException();
            }));
            assertSame(own, values(model));
            step(model, optimizer, 7); // the optimizer's masters have not noticed
            assertNotEquals(own.get("0.weight")[0], values(model).get("0.weight")[0]);
        }
        assertThrows(IllegalArgumentException.class, () -> new ExponentialMovingAverage(model(), 1));
    }

    @Test
    void swappingLeavesTheMastersOfSixteenBitParameters() {
        Variable[] p = new Variable[2];
        for (int k = 0; k < 2; k++) {
            Linear model = new Linear(1, 1, false);
            p[k] = model.weight();
            p[k].set(Tensor.full(1, DType.F32, 1, 1));
            model.to(DType.BF16);
            Optimizer sgd = SGD.of(model.parameters()).learningRate(1e-3).build();
            ExponentialMovingAverage average = new ExponentialMovingAverage(model, 0.5);
            for (int t = 0; t < 10; t++) {
                sgd.step(p[k].value().sum().backward());
                average.update();
                if (k == 1) {
                    average.with(() -> { });
                }
            }
            assertEquals(0.99, sgd.state().get("0.master").item(), 1e-6);
        }
        assertEquals(p[0].value().item(), p[1].value().item());
    }

    @Test
    void isSavedAndRestored() {
        Path file = folder.resolve("average.safetensors");
        Sequential model = model();
        ExponentialMovingAverage average = new ExponentialMovingAverage(model, 0.9);
        step(model, SGD.of(model.parameters()).build(), 1);
        average.update();
        new SafeTensors(average.state(), Map.of()).write(file);
        ExponentialMovingAverage restored = new ExponentialMovingAverage(model, 0.9);
        restored.restore(SafeTensors.read(file).tensors());
        average.state().forEach((name, tensor) -> assertArrayEquals(tensor.toFloatArray(), restored.state().get(name).toFloatArray()));
        Map<String, Tensor> wrong = new LinkedHashMap<>(average.state());
        wrong.remove("0.bias");
        assertThrows(CheckpointException.class, () -> restored.restore(wrong));
    }

    @Test
    void theTrainerValidatesWithIt() {
        float[] values = new Generator(1).randn(64, 4).toFloatArray();
        ArrayDataset data = ArrayDataset.of(values, Shape.of(4), new Generator(2).randint(0, 3, 64).toLongArray(), 3);
        Sequential model = model();
        ExponentialMovingAverage average = new ExponentialMovingAverage(model, 0.95);
        DataLoader validation = DataLoader.of(data, 32);
        Trainer trainer = Trainer.of(model, SGD.of(model.parameters()).learningRate(0.5).build(), Losses::crossEntropy)
                .validation(validation, 3).average(average);
        History history = trainer.fit(DataLoader.of(data, 16).shuffle(1), 2);
        double[] loss = new double[1];
        average.with(() -> loss[0] = Classification.of(model, validation, 3).loss());
        assertEquals(loss[0], history.last().validation().loss());
        assertNotEquals(Classification.of(model, validation, 3).loss(), loss[0]);
        long plans = Debug.plansCompiled();
        long allocations = NativeMemory.nativeAllocations();
        trainer.fit(DataLoader.of(data, 16).shuffle(1), 2);
        assertEquals(plans, Debug.plansCompiled());
        assertEquals(allocations, NativeMemory.nativeAllocations());
    }
}
