// Every loss against its definition written out in plain double arithmetic, and its gradient against finite differences.
package dev.heddle.training;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.heddle.engine.DType;
import dev.heddle.engine.Functional;
import dev.heddle.engine.Gradients;
import dev.heddle.engine.ShapeException;
import dev.heddle.engine.Tensor;
import dev.heddle.testing.NoLeaks;
import dev.heddle.testing.TensorAssertions;
import java.util.Random;
import java.util.function.ToDoubleFunction;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.Test;

@NoLeaks
class LossesTest {
    private static final int N = 7;
    private static final int C = 5;
    private static final long[] LABELS = {3, 0, -100, 4, 1, 1, -100};
    private static final double[] WEIGHTS = {0.5, 2, 1, 3, 0.25};

    /** Value and gradient with respect to {@code x}, in both precisions, against a definition. */
    private static void check(String name, UnaryOperator<Tensor> loss, ToDoubleFunction<double[]> definition, double[] x, long... shape) {
        double expected = definition.applyAsDouble(x);
        double[] slopes = new double[x.length];
        for (int i = 0; i < x.length; i++) {
            double h = 1e-6;
            double[] moved = x.clone();
            moved[i] = x[i] + h;
            double above = definition.applyAsDouble(moved);
            moved[i] = x[i] - h;
            slopes[i] = (above - definition.applyAsDouble(moved)) / (2 * h);
        }
        for (DType dtype : new DType[] {DType.F64, DType.F32}) {
            Tensor input = Tensor.of(x, shape).to(dtype).eval();
            Tensor value = loss.apply(input);
            Tensor gradient = Gradients.of(value, input).getFirst();
            assertEquals(dtype, value.dtype(), name);
            assertEquals(0, value.rank(), name);
            boolean wide = dtype == DType.F64;
            assertEquals(expected, value.item(), (wide ? 1e-12 : 2e-6) * Math.max(1, Math.abs(expected)), name + " " + dtype);
            TensorAssertions.assertClose(slopes, gradient.toDoubleArray(), 1e-5, wide ? 1e-8 : 1e-6, name + " gradient " + dtype);
        }
    }

    private static double[] random(int n, long seed, double scale) {
        return new Random(seed).doubles(n, -scale, scale).toArray();
    }

    private static Tensor like(double[] values, Tensor x, long... shape) {
        return Tensor.of(values, shape).to(x.dtype());
    }

    private static double logProbability(double[] x, int row, int c) {
        double sum = 0;
        for (int i = 0; i < C; i++) {
            sum += Math.exp(x[row * C + i]);
        }
        return x[row * C + c] - Math.log(sum);
    }

    private static double crossEntropy(double[] x, long[] labels, double smoothing, long ignore, double[] weights) {
        double sum = 0;
        double total = 0;
        for (int n = 0; n < labels.length; n++) {
            if (labels[n] == ignore) {
                continue;
            }
            int y = (int) labels[n];
            double uniform = 0;
            for (int c = 0; c < C; c++) {
                uniform -= weights[c] * logProbability(x, n, c) / C;
            }
            sum += (1 - smoothing) * weights[y] * -logProbability(x, n, y) + smoothing * uniform;
            total += weights[y];
        }
        return sum / total;
    }

    @Test
    void crossEntropyWithAllItsOptions() {
        double[] ones = {1, 1, 1, 1, 1};
        double[] x = random(N * C, 1, 3);
        Tensor labels = Tensor.of(LABELS, N);
        check("plain", l -> Losses.crossEntropy(l, labels), v -> crossEntropy(v, LABELS, 0, -100, ones), x, N, C);
        check("smoothed", l -> Losses.crossEntropy(l, labels, 0.1, -100, null),
                v -> crossEntropy(v, LABELS, 0.1, -100, ones), x, N, C);
        check("weighted", l -> Losses.crossEntropy(l, labels, 0, -100, like(WEIGHTS, l, C)),
                v -> crossEntropy(v, LABELS, 0, -100, WEIGHTS), x, N, C);
        check("weighted and smoothed", l -> Losses.crossEntropy(l, labels, 0.2, -100, like(WEIGHTS, l, C)),
                v -> crossEntropy(v, LABELS, 0.2, -100, WEIGHTS), x, N, C);
        long[] others = {3, 0, 1, 4, 1, 1, 0};
        check("another label ignored", l -> Losses.crossEntropy(l, Tensor.of(others, N), 0.1, 1, like(WEIGHTS, l, C)),
                v -> crossEntropy(v, others, 0.1, 1, WEIGHTS), x, N, C);
    }

    @Test
    void crossEntropyOfLargeLogitsIsFinite() {
        Tensor logits = Tensor.of(new float[] {1000, -1000, 0, -500, 500, 100}, 2, 3);
        assertEquals(2000.0 / 2, Losses.crossEntropy(logits, Tensor.of(new long[] {1, 1}, 2)).item(), 1e-3);
    }

    @Test
    void crossEntropyWithoutAnyLabelIsNaN() {
        assertTrue(Double.isNaN(Losses.crossEntropy(Tensor.zeros(2, 3), Tensor.of(new long[] {-100, -100}, 2)).item()));
    }

    @Test
    void negativeLogLikelihood() {
        double[] x = random(N * C, 2, 3);
        check("nll", l -> Losses.nll(l, Tensor.of(LABELS, N)), v -> {
            double sum = 0;
            int count = 0;
            for (int n = 0; n < N; n++) {
                if (LABELS[n] >= 0) {
                    sum -= v[n * C + (int) LABELS[n]];
                    count++;
                }
            }
            return sum / count;
        }, x, N, C);
        Tensor logits = Tensor.of(x, N, C);
        Tensor labels = Tensor.of(LABELS, N);
        assertEquals(Losses.crossEntropy(logits, labels).item(), Losses.nll(Functional.logSoftmax(logits, 1), labels).item(), 1e-12);
    }

    private static double mean(double[] x, double[] y, java.util.function.DoubleBinaryOperator term) {
        double sum = 0;
        for (int i = 0; i < x.length; i++) {
            sum += term.applyAsDouble(x[i], y[i]);
        }
        return sum / x.length;
    }

    @Test
    void regressionLosses() {
        double[] x = random(26, 3, 3);
        double[] y = random(26, 4, 3);
        check("mse", p -> Losses.mse(p, like(y, p, 13, 2)), v -> mean(v, y, (a, b) -> (a - b) * (a - b)), x, 13, 2);
        check("l1", p -> Losses.l1(p, like(y, p, 13, 2)), v -> mean(v, y, (a, b) -> Math.abs(a - b)), x, 13, 2);
        for (double delta : new double[] {0.5, 1, 4}) {
            check("huber " + delta, p -> Losses.huber(p, like(y, p, 13, 2), delta), v -> mean(v, y, (a, b) -> {
                double d = Math.abs(a - b);
                return d <= delta ? d * d / 2 : delta * (d - delta / 2);
            }), x, 13, 2);
        }
    }

    @Test
    void binaryCrossEntropyOfLogits() {
        double[] x = random(12, 5, 4);
        double[] y = new Random(6).doubles(12).toArray();
        double[] weight = {0.5, 1, 3};
        check("bce", p -> Losses.bceWithLogits(p, like(y, p, 4, 3)), v -> mean(v, y, (a, b) ->
                -b * Math.log(1 / (1 + Math.exp(-a))) - (1 - b) * Math.log(1 - 1 / (1 + Math.exp(-a)))), x, 4, 3);
        check("weighted bce", p -> Losses.bceWithLogits(p, like(y, p, 4, 3), like(weight, p, 3)), v -> {
            double sum = 0;
            for (int i = 0; i < v.length; i++) {
                double s = 1 / (1 + Math.exp(-v[i]));
                sum -= weight[i % 3] * y[i] * Math.log(s) + (1 - y[i]) * Math.log(1 - s);
            }
            return sum / v.length;
        }, x, 4, 3);
        Tensor extreme = Tensor.of(500f, -500f, 500f, -500f);
        assertEquals(1000.0 / 4, Losses.bceWithLogits(extreme, Tensor.of(1f, 0f, 0f, 1f)).item(), 1e-3);
        assertArrayEquals(new float[] {0, 0, 0.25f, -0.25f},
                Gradients.of(Losses.bceWithLogits(extreme, Tensor.of(1f, 0f, 0f, 1f)), extreme).getFirst().toFloatArray(), 1e-6f);
    }

    @Test
    void kullbackLeiblerDivergence() {
        double[] x = random(12, 7, 2);
        double[] y = {0.1, 0.2, 0.7, 0, 1, 0, 0.5, 0.25, 0.25, 0.3, 0.3, 0.4};
        ToDoubleFunction<double[]> definition = v -> {
            double sum = 0;
            for (int i = 0; i < v.length; i++) {
                sum += y[i] == 0 ? 0 : y[i] * (Math.log(y[i]) - v[i]);
            }
            return sum / 4;
        };
        check("kl", p -> Losses.kl(p, like(y, p, 4, 3)), definition, x, 4, 3);
        Tensor target = Tensor.of(y, 4, 3);
        for (double slope : Gradients.of(Losses.kl(Tensor.of(x, 4, 3), target), target).getFirst().toDoubleArray()) {
            assertTrue(Double.isFinite(slope));
        }
    }

    @Test
    void cosineEmbedding() {
        double[] a = random(N * 4, 8, 1);
        double[] b = random(N * 4, 9, 1);
        double[] y = {1, -1, 1, -1, -1, 1, -1};
        check("cosine", p -> Losses.cosineEmbedding(p, like(b, p, N, 4), like(y, p, N), 0.05), v -> {
            double sum = 0;
            for (int n = 0; n < N; n++) {
                double dot = 0;
                double va = 0;
                double vb = 0;
                for (int i = n * 4; i < n * 4 + 4; i++) {
                    dot += v[i] * b[i];
                    va += v[i] * v[i];
                    vb += b[i] * b[i];
                }
                double cosine = dot / Math.sqrt(va * vb);
                sum += y[n] > 0 ? 1 - cosine : Math.max(0, cosine - 0.05);
            }
            return sum / N;
        }, a, N, 4);
        assertEquals(0.5, Losses.cosineEmbedding(Tensor.zeros(2, 3), Tensor.zeros(2, 3), Tensor.of(1f, -1f), 0.5).item(), 1e-6);
    }

    @Test
    void tripletMargin() {
        double[] anchor = random(N * 3, 10, 1);
        double[] positive = random(N * 3, 11, 1);
        double[] negative = random(N * 3, 12, 1);
        check("triplet", p -> Losses.triplet(p, like(positive, p, N, 3), like(negative, p, N, 3), 0.3), v -> {
            double sum = 0;
            for (int n = 0; n < N; n++) {
                double near = 0;
                double far = 0;
                for (int i = n * 3; i < n * 3 + 3; i++) {
                    near += Math.pow(v[i] - positive[i] + 1e-6, 2);
                    far += Math.pow(v[i] - negative[i] + 1e-6, 2);
                }
                sum += Math.max(0, Math.sqrt(near) - Math.sqrt(far) + 0.3);
            }
            return sum / N;
        }, anchor, N, 3);
    }

    @Test
    void shapesAndOptionsAreChecked() {
        Tensor x = Tensor.zeros(3, 2);
        assertTrue(assertThrows(ShapeException.class, () -> Losses.mse(x, Tensor.zeros(3))).getMessage().contains("(3, 2) and (3)"));
        assertThrows(ShapeException.class, () -> Losses.l1(x, Tensor.zeros(3, 1)));
        assertThrows(ShapeException.class, () -> Losses.bceWithLogits(x, Tensor.zeros(2, 3)));
        assertThrows(ShapeException.class, () -> Losses.kl(x, Tensor.zeros(2)));
        assertThrows(ShapeException.class, () -> Losses.nll(x, Tensor.of(new long[2], 2)));
        assertThrows(ShapeException.class, () -> Losses.crossEntropy(x, Tensor.of(new long[2], 2)));
        assertThrows(ShapeException.class, () -> Losses.crossEntropy(x, Tensor.of(new long[3], 3), 0, -100, Tensor.zeros(3)));
        assertThrows(ShapeException.class, () -> Losses.cosineEmbedding(x, x, Tensor.zeros(2), 0));
        assertThrows(ShapeException.class, () -> Losses.triplet(x, x, Tensor.zeros(3), 1));
        assertThrows(IllegalArgumentException.class, () -> Losses.huber(x, x, 0));
        assertThrows(IllegalArgumentException.class, () -> Losses.crossEntropy(x, Tensor.of(new long[3], 3), 1, -100, null));
    }
}
