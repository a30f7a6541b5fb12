// Several small batches must make the step of one large one, and no more memory or plans than one small one.
package dev.heddle.training;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.heddle.engine.DType;
import dev.heddle.engine.Debug;
import dev.heddle.engine.Device;
import dev.heddle.engine.Generator;
import dev.heddle.engine.Gradients;
import dev.heddle.engine.Shape;
import dev.heddle.engine.ShapeException;
import dev.heddle.engine.Tensor;
import dev.heddle.engine.Variable;
import dev.heddle.engine.memory.NativeMemory;
import dev.heddle.layers.Init;
import dev.heddle.layers.Linear;
import dev.heddle.layers.Sequential;
import dev.heddle.layers.Tanh;
import dev.heddle.testing.NoLeaks;
import dev.heddle.testing.TensorAssertions;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

@NoLeaks
class GradientAccumulationTest {
    private static Sequential model() {
        Init.seed(1);
        return new Sequential(new Linear(5, 16), new Tanh(), new Linear(16, 3));
    }

    private static Tensor loss(Sequential model, Tensor x, Tensor y) {
        return Losses.crossEntropy(model.forward(x.to(model.dtype())), y);
    }

    @Test
    void microBatchesMakeTheStepOfTheWholeBatch() {
        for (DType dtype : List.of(DType.F32, DType.BF16)) {
            Sequential whole = model();
            Sequential parts = model();
            whole.to(dtype);
            parts.to(dtype);
            Optimizer a = AdamW.of(whole.parameters()).learningRate(0.01).clipNorm(0.5).build();
            Optimizer b = AdamW.of(parts.parameters()).learningRate(0.01).clipNorm(0.5).build();
            GradientAccumulation sum = new GradientAccumulation();
            for (int step = 0; step < 5; step++) {
                Tensor x = new Generator(step).randn(24, 5).eval();
                Tensor y = new Generator(step + 100).randint(0, 3, 24).eval();
                Tensor all = loss(whole, x, y);
                a.step(all.backward());
                for (long[] part : new long[][] {{0, 8}, {8, 20}, {20, 24}}) { // of different sizes
                    Gradients gradients = loss(parts, x.slice(0, part[0], part[1]), y.slice(0, part[0], part[1])).backward();
                    sum.add(gradients, part[1] - part[0]);
                }
                Gradients mean = sum.mean();
                b.step(mean);
                assertEquals(all.item(), mean.loss().item(), dtype == DType.F32 ? 1e-6 : 1e-2);
            }
            double tolerance = dtype == DType.F32 ? 1e-5 : 0.02;
            whole.namedParameters().forEach((name, p) -> TensorAssertions.assertClose(p.value().toDoubleArray(),
                    parts.namedParameters().get(name).value().toDoubleArray(), tolerance, tolerance, name + " " + dtype));
        }
    }

    @Test
    void sumsAreWide() {
        Variable p = new Variable("p", Tensor.full(0, DType.BF16, 2), true);
        GradientAccumulation sum = new GradientAccumulation();
        sum.add(p.value().mul(256).sum().backward());
        for (int i = 0; i < 255; i++) {
            sum.add(p.value().sum().backward()); // 256 + 1 is 256 in 16 bits
        }
        assertArrayEquals(new float[] {511f / 256, 511f / 256}, sum.mean().get(p).toFloatArray());
    }

    @Test
    void whatAMicroBatchLeavesOutIsNotCarriedOver() {
        Variable p = new Variable("p", Tensor.of(1f), true);
        Variable q = new Variable("q", Tensor.of(1f), true);
        GradientAccumulation sum = new GradientAccumulation();
        sum.add(p.value().add(q.value()).sum().backward());
        sum.mean();
        sum.add(p.value().mul(2).sum().backward());
        sum.add(q.value().mul(4).sum().backward());
        Gradients mean = sum.mean();
        assertEquals(1, mean.get(p).item());
        assertEquals(2, mean.get(q).item());
        sum.add(p.value().mul(3).sum().backward());
        mean = sum.mean();
        assertEquals(java.util.Set.of(p), mean.variables());
        assertEquals(3, mean.get(p).item());
        assertThrows(IllegalStateException.class, sum::mean);
        Gradients one = p.value().sum().backward();
        assertThrows(IllegalArgumentException.class, () -> sum.add(one, 0));
        assertThrows(ShapeException.class, () -> Gradients.of(Tensor.scalar(1), Map.of(p, Tensor.zeros(2))));
    }

    @Test
    void aSteadyStepCompilesNoPlanAndEachMicroBatchRunsOnce() {
        Sequential model = model();
        Optimizer optimizer = Adam.of(model.parameters()).clipNorm(1).build();
        GradientAccumulation sum = new GradientAccumulation();
        Tensor x = new Generator(1).randn(8, 5).eval();
        Tensor y = new Generator(2).randint(0, 3, 8).eval();
        long plans = 0;
        long allocations = 0;
        long peak = 0;
        for (int step = 0; step < 20; step++) {
            if (step == 5) {
                plans = Debug.plansCompiled();
                allocations = NativeMemory.nativeAllocations();
                peak = Debug.memory(Device.current()).inUse();
            }
            for (int i = 0; i < 4; i++) {
                Tensor logits = model.forward(x);
                Tensor loss = Losses.crossEntropy(logits, y);
                Tensor accuracy = logits.argmax(1).eq(y).to(DType.F32).mean(); // an unread result, computed along
                sum.add(loss.backward());
                int size = Debug.lastPlan().size();
                accuracy.item();
                loss.item();
                assertEquals(size, Debug.lastPlan().size(), "reading what was computed runs nothing");
                accuracy.close();
                loss.close();
            }
            optimizer.step(sum.mean());
            assertTrue(Debug.lastPlan().steps().stream().noneMatch(s -> s.op() instanceof dev.heddle.engine.op.MatMul), "the step runs no forward pass");
        }
        assertEquals(plans, Debug.plansCompiled());
        assertEquals(allocations, NativeMemory.nativeAllocations());
        assertEquals(peak, Debug.memory(Device.current()).inUse());
    }

    @Test
    void theTrainerAccumulates() {
        float[] values = new Generator(1).randn(40, 5).toFloatArray();
        long[] labels = new Generator(2).randint(0, 3, 40).toLongArray();
        ArrayDataset data = ArrayDataset.of(values, Shape.of(5), labels, 3);
        Sequential[] models = {model(), model()};
        History[] histories = new History[2];
        for (int i = 0; i < 2; i++) {
            Optimizer optimizer = SGD.of(models[i].parameters()).learningRate(0.3).build();
            histories[i] = Trainer.of(models[i], optimizer, Losses::crossEntropy).accumulate(i == 0 ? 1 : 4)
                    .fit(DataLoader.of(data, i == 0 ? 16 : 4).shuffle(5), 3); // 16, 16 and 8 samples a step
        }
        models[0].namedParameters().forEach((name, p) -> TensorAssertions.assertClose(p.value().toDoubleArray(),
                models[1].namedParameters().get(name).value().toDoubleArray(), 1e-5, 1e-5, name));
        assertEquals(histories[0].last().trainLoss(), histories[1].last().trainLoss(), 1e-5);
        assertThrows(IllegalArgumentException.class, () -> Trainer.of(models[0], null, Losses::mse).accumulate(0));
    }
}
