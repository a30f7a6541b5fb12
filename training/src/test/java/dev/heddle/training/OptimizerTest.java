// Every optimizer against its formulas in plain double arithmetic, over many steps and with groups.
package dev.heddle.training;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.heddle.engine.DType;
import dev.heddle.engine.Debug;
import dev.heddle.engine.Gradients;
import dev.heddle.engine.Tensor;
import dev.heddle.engine.Variable;
import dev.heddle.engine.memory.NativeMemory;
import dev.heddle.testing.NoLeaks;
import dev.heddle.testing.TensorAssertions;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.function.BiFunction;
import org.junit.jupiter.api.Test;

@NoLeaks
class OptimizerTest {
    private static final int STEPS = 20;
    private static final int SIZE = 13;

    /** A step on {@code p} with gradient {@code g}; {@code a} and {@code b} are state, {@code t} counts from 1. */
    private interface Formula {
        double step(double p, double g, double[] a, double[] b, int i, int t, double lr, double decay);
    }

    private static Variable variable(String name, DType dtype, long seed, long... shape) {
        int n = 1;
        for (long dim : shape) {
            n *= (int) dim;
        }
        return new Variable(name, Tensor.of(new Random(seed).doubles(n, -1, 1).toArray(), shape).to(dtype), true);
    }

    /** A loss whose gradient differs from element to element and from step to step. */
    private static Tensor loss(Variable p, int t) {
        double[] target = new Random(1000 + t).doubles((int) p.shape().elements(), -2, 2).toArray();
        return p.value().sub(Tensor.of(target, p.shape().dims()).to(p.dtype())).square().mul(0.5).sum();
    }

    private static double[] gradient(double[] p, int t) {
        double[] target = new Random(1000 + t).doubles(p.length, -2, 2).toArray();
        double[] g = new double[p.length];
        for (int i = 0; i < g.length; i++) {
            g[i] = p[i] - target[i];
        }
        return g;
    }

    private static void run(String name, BiFunction<Variable, Variable, Optimizer> make, Formula formula, double lr, double decay,
            double secondLr, double secondDecay) {
        for (DType dtype : new DType[] {DType.F64, DType.F32}) {
            Variable first = variable("first", dtype, 1, SIZE, 1);
            Variable second = variable("second", dtype, 2, SIZE);
            Variable[] parameters = {first, second};
            double[][] expected = {first.value().toDoubleArray(), second.value().toDoubleArray()};
            double[][] a = new double[2][SIZE];
            double[][] b = new double[2][SIZE];
            Optimizer optimizer = make.apply(first, second);
            for (int t = 1; t <= STEPS; t++) {
                double factor = t <= 10 ? 1 : 0.5;
                optimizer.learningRate(lr * factor);
                optimizer.step(loss(first, t).add(loss(second, t)).backward());
                for (int k = 0; k < 2; k++) {
                    double[] g = gradient(expected[k], t);
                    for (int i = 0; i < SIZE; i++) {
                        expected[k][i] = formula.step(expected[k][i], g[i], a[k], b[k], i, t, (k == 0 ? lr : secondLr) * factor,
                                k == 0 ? decay : secondDecay);
                    }
                }
            }
            for (int k = 0; k < 2; k++) {
                TensorAssertions.assertClose(expected[k], parameters[k].value().toDoubleArray(), dtype == DType.F64 ? 1e-12 : 2e-5,
                        dtype == DType.F64 ? 1e-12 : 2e-6, name + " group " + k + " " + dtype);
            }
        }
    }

    @Test
    void sgd() {
        run("SGD", (p, q) -> SGD.of(List.of(p)).learningRate(0.1).group(List.of(q), 0.02, 0.3).build(),
                (p, g, a, b, i, t, lr, decay) -> p - lr * (g + decay * p), 0.1, 0, 0.02, 0.3);
    }

    @Test
    void sgdWithMomentum() {
        run("momentum", (p, q) -> SGD.of(List.of(p)).learningRate(0.1).momentum(0.9).group(List.of(q), 0.02, 0.3).build(),
                (p, g, a, b, i, t, lr, decay) -> {
                    a[i] = t == 1 ? g + decay * p : 0.9 * a[i] + g + decay * p;
                    return p - lr * a[i];
                }, 0.1, 0, 0.02, 0.3);
    }

    @Test
    void sgdWithNesterovMomentum() {
        run("Nesterov", (p, q) -> SGD.of(List.of(p)).learningRate(0.1).momentum(0.9).nesterov(true).weightDecay(0.05)
                        .group(List.of(q), 0.02, 0).build(),
                (p, g, a, b, i, t, lr, decay) -> {
                    a[i] = 0.9 * a[i] + g + decay * p;
                    return p - lr * (g + decay * p + 0.9 * a[i]);
                }, 0.1, 0.05, 0.02, 0);
    }

    @Test
    void rmsprop() {
        run("RMSprop", (p, q) -> RMSprop.of(List.of(p)).learningRate(0.03).group(List.of(q), 0.01, 0.2).build(),
                (p, g, a, b, i, t, lr, decay) -> {
                    double d = g + decay * p;
                    a[i] = 0.99 * a[i] + 0.01 * d * d;
                    return p - lr * d / (Math.sqrt(a[i]) + 1e-8);
                }, 0.03, 0, 0.01, 0.2);
    }

    @Test
    void rmspropWithMomentum() {
        run("RMSprop with momentum", (p, q) -> RMSprop.of(List.of(p)).learningRate(0.03).alpha(0.9).eps(1e-3).momentum(0.8)
                        .weightDecay(0.1).group(List.of(q), 0.01, 0).build(),
                (p, g, a, b, i, t, lr, decay) -> {
                    double d = g + decay * p;
                    a[i] = 0.9 * a[i] + 0.1 * d * d;
                    b[i] = 0.8 * b[i] + d / (Math.sqrt(a[i]) + 1e-3);
                    return p - lr * b[i];
                }, 0.03, 0.1, 0.01, 0);
    }

    private static Formula adam(boolean decoupled, double beta1, double beta2, double eps) {
        return (p, g, a, b, i, t, lr, decay) -> {
            double d = decoupled ? g : g + decay * p;
            a[i] = beta1 * a[i] + (1 - beta1) * d;
            b[i] = beta2 * b[i] + (1 - beta2) * d * d;
            double m = a[i] / (1 - Math.pow(beta1, t));
            double v = b[i] / (1 - Math.pow(beta2, t));
            return (decoupled ? p * (1 - lr * decay) : p) - lr * m / (Math.sqrt(v) + eps);
        };
    }

    @Test
    void adam() {
        run("Adam", (p, q) -> Adam.of(List.of(p)).learningRate(0.05).group(List.of(q), 0.01, 0.2).build(),
                adam(false, 0.9, 0.999, 1e-8), 0.05, 0, 0.01, 0.2);
    }

    @Test
    void adamWithOtherConstants() {
        run("Adam", (p, q) -> Adam.of(List.of(p)).learningRate(0.05).betas(0.8, 0.95).eps(1e-2).weightDecay(0.1)
                .group(List.of(q), 0.01, 0).build(), adam(false, 0.8, 0.95, 1e-2), 0.05, 0.1, 0.01, 0);
    }

    @Test
    void adamW() {
        run("AdamW", (p, q) -> AdamW.of(List.of(p)).learningRate(0.05).group(List.of(q), 0.01, 0.5).build(),
                adam(true, 0.9, 0.999, 1e-8), 0.05, 0.01, 0.01, 0.5);
    }

    @Test
    void parametersOutsideTheLossAndFrozenOnesAreLeftAlone() {
        Variable p = variable("p", DType.F64, 1, SIZE);
        Variable idle = variable("idle", DType.F64, 2, SIZE);
        double[] before = idle.value().toDoubleArray();
        Optimizer optimizer = AdamW.of(List.of(p, idle)).build();
        for (int t = 1; t <= 3; t++) {
            optimizer.step(loss(p, t).backward());
        }
        assertArrayEquals(before, idle.value().toDoubleArray(), 0);
        p.trainable(false);
        double[] frozen = p.value().toDoubleArray();
        optimizer.step(loss(p, 4).add(loss(idle, 4)).backward());
        assertArrayEquals(frozen, p.value().toDoubleArray(), 0);

        double[] g = gradient(before, 4); // the first step of this parameter: bias correction begins here
        double[] expected = new double[SIZE];
        for (int i = 0; i < SIZE; i++) {
            expected[i] = adam(true, 0.9, 0.999, 1e-8).step(before[i], g[i], new double[SIZE], new double[SIZE], i, 1, 1e-3, 0.01);
        }
        TensorAssertions.assertClose(expected, idle.value().toDoubleArray(), 1e-12, 1e-12, "first step");
        idle.trainable(false);
        assertThrows(IllegalArgumentException.class, () -> optimizer.step(loss(variable("other", DType.F64, 3, 2), 1).backward()));
    }

    @Test
    void stateGoesOnWhereItWasSaved() {
        Map<String, BiFunction<Variable, Variable, Optimizer>> optimizers = new LinkedHashMap<>();
        optimizers.put("sgd", (p, q) -> SGD.of(List.of(p)).momentum(0.9).group(List.of(q), 0.1, 0.1).build());
        optimizers.put("rmsprop", (p, q) -> RMSprop.of(List.of(p)).momentum(0.9).group(List.of(q), 0.1, 0.1).build());
        optimizers.put("adam", (p, q) -> Adam.of(List.of(p)).group(List.of(q), 0.1, 0.1).build());
        optimizers.forEach((name, make) -> {
            Variable p = variable("p", DType.F32, 1, 3, 5);
            Variable q = variable("q", DType.F32, 2, 7);
            Optimizer optimizer = make.apply(p, q);
            for (int t = 1; t <= 5; t++) {
                optimizer.step(loss(p, t).add(loss(q, t)).backward());
            }
            optimizer.learningRate(0.007);
            Variable p2 = new Variable("p2", p.value(), true);
            Variable q2 = new Variable("q2", q.value(), true);
            Optimizer restored = make.apply(p2, q2);
            restored.restore(optimizer.state());
            assertEquals(0.007, restored.learningRate());
            for (int t = 6; t <= 10; t++) {
                optimizer.step(loss(p, t).add(loss(q, t)).backward());
                restored.step(loss(p2, t).add(loss(q2, t)).backward());
            }
            assertArrayEquals(p.value().toFloatArray(), p2.value().toFloatArray(), name);
            assertArrayEquals(q.value().toFloatArray(), q2.value().toFloatArray(), name);
        });
    }

    @Test
    void stateThatDoesNotFitIsRefusedAndNothingChanged() {
        Variable p = variable("p", DType.F32, 1, 3);
        Optimizer adam = Adam.of(List.of(p)).learningRate(0.5).build();
        adam.step(loss(p, 1).backward());
        Map<String, Tensor> state = adam.state();
        float[] average = state.get("0.exp_avg").toFloatArray();

        Map<String, Tensor> wrong = new LinkedHashMap<>(state);
        wrong.put("0.exp_avg", Tensor.zeros(4));
        assertTrue(assertThrows(CheckpointException.class, () -> adam.restore(wrong)).getMessage().contains("0.exp_avg"));
        wrong.put("0.exp_avg", Tensor.zeros(3));
        wrong.remove("0.exp_avg_sq");
        assertThrows(CheckpointException.class, () -> adam.restore(wrong));
        wrong.put("0.exp_avg_sq", Tensor.zeros(3));
        wrong.put("1.exp_avg", Tensor.zeros(3));
        assertThrows(CheckpointException.class, () -> adam.restore(wrong));
        wrong.remove("1.exp_avg");
        wrong.put("0.step", Tensor.of(new long[] {-1}));
        assertThrows(CheckpointException.class, () -> adam.restore(wrong));
        wrong.put("0.step", Tensor.of(new long[] {7}));
        wrong.put("learning_rate", Tensor.of(new double[] {Double.NaN}));
        assertThrows(CheckpointException.class, () -> adam.restore(wrong));
        assertEquals(0.5, adam.learningRate());
        assertArrayEquals(average, adam.state().get("0.exp_avg").toFloatArray());
        assertEquals(1, adam.state().get("0.step").item());
        assertThrows(CheckpointException.class, () -> SGD.of(List.of(p)).momentum(0.5).build().restore(state));
    }

    @Test
    void decayingStateEndsAtZeroRatherThanInDenormals() {
        Variable p = variable("p", DType.F32, 1, 3);
        Optimizer sgd = SGD.of(List.of(p)).momentum(0.5).build();
        sgd.step(p.value().mul(1e-20).sum().backward());
        for (int t = 0; t < 60; t++) {
            sgd.step(p.value().mul(0).sum().backward());
        }
        assertArrayEquals(new float[3], sgd.state().get("0.momentum").toFloatArray());
    }

    @Test
    void aSteadyStepCompilesNoPlanAndAllocatesNothing() {
        Variable p = variable("p", DType.F32, 1, 64, 33);
        Variable q = variable("q", DType.F32, 2, 64, 33);
        Optimizer adam = AdamW.of(List.of(p)).group(List.of(q), 0.01, 0).clipNorm(1).build();
        long plans = 0;
        long allocations = 0;
        for (int t = 0; t < 40; t++) {
            if (t == 10) {
                plans = Debug.plansCompiled();
                allocations = NativeMemory.nativeAllocations();
            }
            adam.learningRate(1e-3 / (t + 1));
            Gradients gradients = p.value().mul(q.value()).square().mean().backward();
            adam.step(gradients);
            gradients.loss().close();
        }
        assertEquals(plans, Debug.plansCompiled());
        assertEquals(allocations, NativeMemory.nativeAllocations());
    }

    @Test
    void clippingByNorm() {
        Variable p = new Variable("p", Tensor.of(3f, 0f), true);
        Variable q = new Variable("q", Tensor.of(new float[] {4}, 1, 1), true);
        Gradients gradients = p.value().square().sum().add(q.value().square().sum()).mul(0.5).backward(); // the values themselves
        assertEquals(5, GradientClipping.norm(gradients).item(), 1e-6);
        Gradients clipped = GradientClipping.byNorm(gradients, 1);
        assertArrayEquals(new float[] {0.6f, 0}, clipped.get(p).toFloatArray(), 1e-6f);
        assertArrayEquals(new float[] {0.8f}, clipped.get(q).toFloatArray(), 1e-6f);
        assertArrayEquals(new float[] {3, 0}, GradientClipping.byNorm(gradients, 6).get(p).toFloatArray());
        SGD.of(List.of(p, q)).learningRate(1).clipNorm(1).build().step(gradients);
        assertArrayEquals(new float[] {2.4f, 0}, p.value().toFloatArray(), 1e-6f);
        assertArrayEquals(new float[] {3.2f}, q.value().toFloatArray(), 1e-6f);
    }

    @Test
    void clippingByValue() {
        Variable p = new Variable("p", Tensor.of(3f, -0.5f, -2f), true);
        Gradients gradients = p.value().square().sum().mul(0.5).backward();
        assertArrayEquals(new float[] {1, -0.5f, -1}, GradientClipping.byValue(gradients, 1).get(p).toFloatArray());
        SGD.of(List.of(p)).learningRate(1).clipValue(1).build().step(gradients);
        assertArrayEquals(new float[] {2, 0, -1}, p.value().toFloatArray());
    }

    @Test
    void sixteenBitParametersKeepWideState() {
        Variable p = variable("p", DType.BF16, 1, SIZE);
        Optimizer adam = Adam.of(List.of(p)).learningRate(0.25).build();
        double[] before = p.value().toDoubleArray();
        adam.step(loss(p, 1).backward());
        assertEquals(DType.F32, adam.state().get("0.exp_avg").dtype());
        double[] after = p.value().toDoubleArray();
        for (int i = 0; i < SIZE; i++) {
            assertEquals(0.25, Math.abs(after[i] - before[i]), 0.01); // the first step is lr, whatever the gradient
        }
    }

    @Test
    void settingsAreChecked() {
        Variable p = variable("p", DType.F32, 1, 3);
        List<Variable> one = List.of(p);
        assertThrows(IllegalArgumentException.class, () -> Adam.of(List.of()).build());
        assertThrows(IllegalArgumentException.class, () -> Adam.of(one).group(one, 1, 0).build());
        assertThrows(IllegalArgumentException.class, () -> Adam.of(one).learningRate(-1));
        assertThrows(IllegalArgumentException.class, () -> Adam.of(one).learningRate(Double.NaN));
        assertThrows(IllegalArgumentException.class, () -> Adam.of(one).betas(1, 0.9));
        assertThrows(IllegalArgumentException.class, () -> Adam.of(one).weightDecay(-0.1));
        assertThrows(IllegalArgumentException.class, () -> SGD.of(one).momentum(1));
        assertThrows(IllegalArgumentException.class, () -> SGD.of(one).nesterov(true).build());
        assertThrows(IllegalArgumentException.class, () -> RMSprop.of(one).clipNorm(0));
        assertThrows(IllegalArgumentException.class, () -> RMSprop.of(one).clipValue(-1));
        Variable q = variable("q", DType.F32, 2, 3);
        assertThrows(IllegalArgumentException.class, () -> SGD.of(one).learningRate(0).group(List.of(q), 0.1, 0).build());
    }
}
