// Loss scaling: gradients too small for F16 arrive, those too large change nothing, and the scale finds its place.
package dev.heddle.training;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.heddle.engine.DType;
import dev.heddle.engine.Debug;
import dev.heddle.engine.Generator;
import dev.heddle.engine.Tensor;
import dev.heddle.engine.Variable;
import dev.heddle.layers.Init;
import dev.heddle.layers.Linear;
import dev.heddle.layers.Sequential;
import dev.heddle.layers.Tanh;
import dev.heddle.testing.NoLeaks;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

@NoLeaks
class LossScalerTest {
    /** A loss whose gradient is {@code slope} at each of three elements, computed in F16. */
    private static Tensor loss(Variable p, double slope) {
        return p.value().mul(Tensor.scalar(1, DType.F16)).to(DType.F32).mul(Tensor.scalar(slope)).sum();
    }

    private static Variable parameter() {
        return new Variable("p", Tensor.full(1, DType.F16, 3), true);
    }

    @Test
    void smallGradientsArrive() {
        Variable p = parameter();
        assertEquals(0, loss(p, 1e-9).backward().get(p).toFloatArray()[0], "too small for F16");
        LossScaler scaler = new LossScaler();
        Tensor gradient = scaler.backward(loss(p, 1e-9)).get(p);
        assertEquals(DType.F32, gradient.dtype());
        assertEquals(1e-9, gradient.toDoubleArray()[0], 1e-11);
        Variable wide = new Variable("wide", Tensor.full(1, DType.F64, 3), true);
        assertEquals(DType.F64, scaler.backward(wide.value().sum()).get(wide).dtype());
    }

    @Test
    void aStepThatOverflowsChangesNothingButTheScale() {
        Map<String, java.util.function.Function<LossScaler, Optimizer>> optimizers = new LinkedHashMap<>();
        Variable p = parameter();
        optimizers.put("sgd", s -> SGD.of(List.of(p)).momentum(0.9).lossScaler(s).build());
        optimizers.put("adamw", s -> AdamW.of(List.of(p)).clipNorm(1).lossScaler(s).build());
        optimizers.put("rmsprop", s -> RMSprop.of(List.of(p)).clipValue(1).lossScaler(s).build());
        optimizers.forEach((name, make) -> {
            LossScaler scaler = new LossScaler(1024, 3);
            Optimizer optimizer = make.apply(scaler);
            optimizer.step(scaler.backward(loss(p, 1)));
            Map<String, double[]> before = values(optimizer, p);
            double[] scales = {512, 256, 256, 256, 512, 1024, 512};
            double[] slopes = {100, Double.NaN, 1, 1, 1, 1, 200};
            for (int i = 0; i < slopes.length; i++) {
                if (i == 5) {
                    optimizer.step(scaler.backward(loss(p, 1)));
                    optimizer.step(scaler.backward(loss(p, 1)));
                }
                optimizer.step(scaler.backward(loss(p, slopes[i])));
                assertEquals(scales[i], scaler.scale().item(), name + " scale after step " + i);
                Map<String, double[]> after = values(optimizer, p);
                for (String key : before.keySet()) {
                    boolean same = java.util.Arrays.equals(before.get(key), after.get(key));
                    boolean overflow = i < 2 || i == 6;
                    assertTrue(same == overflow || !overflow && key.equals("p"), name + ": " + key + " after step " + i);
                    assertTrue(java.util.Arrays.stream(after.get(key)).allMatch(Double::isFinite));
                }
                before = after;
            }
        });
    }

    private static Map<String, double[]> values(Optimizer optimizer, Variable p) {
        Map<String, double[]> values = new LinkedHashMap<>();
        values.put("p", p.value().toDoubleArray());
        optimizer.state().forEach((name, tensor) -> {
            if (name.startsWith("0.") && !name.equals("0.step")) {
                values.put(name, tensor.toDoubleArray());
            }
        });
        return values;
    }

    @Test
    void theScaleIsAtLeastOne() {
        Variable p = parameter();
        LossScaler scaler = new LossScaler(2, 2000);
        Optimizer sgd = SGD.of(List.of(p)).lossScaler(scaler).build();
        for (int i = 0; i < 3; i++) {
            sgd.step(scaler.backward(loss(p, Double.POSITIVE_INFINITY)));
        }
        assertEquals(1, scaler.scale().item());
        assertThrows(IllegalArgumentException.class, () -> new LossScaler(0.5, 1));
        assertThrows(IllegalArgumentException.class, () -> new LossScaler(2, 0));
    }

    @Test
    void aStepWithoutOverflowIsTheOneWithoutScaler() {
        Variable p = new Variable("p", new Generator(1).randn(5, 7), true);
        Variable q = new Variable("q", p.value(), true);
        LossScaler scaler = new LossScaler(1024, 2); // a power of two: no bit is lost
        Optimizer scaled = AdamW.of(List.of(p)).lossScaler(scaler).build();
        Optimizer plain = AdamW.of(List.of(q)).build();
        for (int i = 0; i < 5; i++) {
            scaled.step(scaler.backward(p.value().square().mean()));
            plain.step(q.value().square().mean().backward());
        }
        assertArrayEquals(q.value().toFloatArray(), p.value().toFloatArray());
        assertEquals(4096, scaler.scale().item());
    }

    @Test
    void stateIsSavedAndRestored() {
        Variable p = parameter();
        LossScaler scaler = new LossScaler(64, 10);
        Optimizer optimizer = SGD.of(List.of(p)).lossScaler(scaler).build();
        optimizer.step(scaler.backward(loss(p, Double.NaN)));
        optimizer.step(scaler.backward(loss(p, 1)));
        LossScaler other = new LossScaler();
        Optimizer restored = SGD.of(List.of(parameter())).lossScaler(other).build();
        restored.restore(optimizer.state());
        assertEquals(32, other.scale().item());
        assertEquals(1, restored.state().get("good_steps").item());
        Map<String, Tensor> wrong = new LinkedHashMap<>(optimizer.state());
        wrong.put("loss_scale", Tensor.scalar(Double.NaN));
        assertThrows(CheckpointException.class, () -> restored.restore(wrong));
        wrong.remove("loss_scale");
        assertThrows(CheckpointException.class, () -> restored.restore(wrong));
    }

    @Test
    void aModelInF16LearnsAndStoresNoWideGradients() {
        Init.seed(1);
        Sequential model = new Sequential(new Linear(5, 64), new Tanh(), new Linear(64, 96), new Tanh(), new Linear(96, 3));
        model.to(DType.F16);
        LossScaler scaler = new LossScaler();
        Optimizer optimizer = AdamW.of(model.parameters()).learningRate(0.01).clipNorm(1).lossScaler(scaler).build();
        Tensor x = new Generator(1).randn(24, 5).to(DType.F16).eval();
        Tensor y = new Generator(2).randint(0, 3, 24).eval();
        double last = 0;
        long plans = 0;
        for (int step = 0; step < 25; step++) {
            Tensor loss = Losses.crossEntropy(model.forward(x), y);
            optimizer.step(scaler.backward(loss));
            if (step == 4) {
                plans = Debug.plansCompiled();
            }
            last = loss.item();
        }
        assertTrue(last < 0.1, "loss " + last);
        assertEquals(plans, Debug.plansCompiled());
        assertTrue(Debug.lastPlan().steps().stream().filter(step -> step.outputs().size() == 1).map(step -> step.outputLayouts().getFirst())
                .noneMatch(made -> made.dtype() == DType.F32 && made.shape().elements() == 96 * 64), () -> Debug.lastPlan().toString());
    }
}
