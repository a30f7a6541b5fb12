// Attention beyond the table: views, masks, errors, gradients of gradients.
package dev.heddle.kernels;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeFalse;

import dev.heddle.engine.DType;
import dev.heddle.engine.Debug;
import dev.heddle.engine.Device;
import dev.heddle.engine.Functional;
import dev.heddle.engine.Generator;
import dev.heddle.engine.Gradients;
import dev.heddle.engine.ReferenceEvaluation;
import dev.heddle.engine.ShapeException;
import dev.heddle.engine.Tensor;
import dev.heddle.engine.fused.ScaledDotProductAttention;
import dev.heddle.testing.NoLeaks;
import dev.heddle.testing.TensorAssertions;
import java.util.List;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

@NoLeaks
class AttentionTest {
    @BeforeAll
    static void needsTheDevice() {
        Devices.needsTheDevice();
    }

    private static Tensor random(long seed, DType dtype, long... shape) {
        return FusedCases.floats(shape).leaf(dtype, seed);
    }

    private static void compare(Tensor... tensors) {
        List<Object> expected = ReferenceEvaluation.evaluate(tensors);
        Tensor.eval(tensors);
        double tolerance = Devices.tolerance(tensors[0].dtype());
        for (int i = 0; i < tensors.length; i++) {
            TensorAssertions.assertClose((double[]) expected.get(i), tensors[i].toDoubleArray(), tolerance, tolerance, "tensor " + i);
        }
    }

    @Test
    void handComputedValues() {
        Tensor q = Tensor.of(new double[] {0, 0, Math.log(3), 0}, 1, 1, 2, 2).to(DType.F32); // two queries
        Tensor k = Tensor.of(new double[] {0, 0, 1, 0}, 1, 1, 2, 2).to(DType.F32);
        Tensor v = Tensor.of(new double[] {4, 0, 8, 1}, 1, 1, 2, 2).to(DType.F32);
        List<Tensor> all = Tensor.recordAll(new ScaledDotProductAttention(1, false), List.of(q, k, v));
        TensorAssertions.assertClose(new double[] {6, 0.5, 7, 0.75}, all.get(0).toDoubleArray(), 1e-6, 1e-6, "out");
        TensorAssertions.assertClose(new double[] {Math.log(2), Math.log(4)}, all.get(1).toDoubleArray(), 1e-6, 1e-6, "lse");
        List<Tensor> causal = Tensor.recordAll(new ScaledDotProductAttention(1, true), List.of(q, k, v));
        TensorAssertions.assertClose(new double[] {4, 0, 7, 0.75}, causal.get(0).toDoubleArray(), 1e-6, 1e-6, "causal out");
        TensorAssertions.assertClose(new double[] {0, Math.log(4)}, causal.get(1).toDoubleArray(), 1e-6, 1e-6, "causal lse");
    }

    /** Queries, keys and values side by side in one projection, as models have them: read, and written, where they lie. */
    @ParameterizedTest
    @EnumSource(value = DType.class, names = {"F32", "BF16", "F16"})
    void headsOfAPackedProjectionAreNotCopied(DType dtype) {
        Tensor packed = random(3, dtype, 2, 9, 3, 4, 32); // (B, T, 3, H, D)
        Tensor heads = packed.permute(2, 0, 3, 1, 4); // (3, B, H, T, D)
        Tensor out = Functional.scaledDotProductAttention(heads.select(0, 0), heads.select(0, 1), heads.select(0, 2), true);
        Tensor joined = out.permute(0, 2, 1, 3).reshape(2, 9, 128); // (B, T, H D)
        Tensor gradient = Gradients.of(joined.to(DType.F32).square().sum().to(dtype), packed).getFirst();
        compare(joined, gradient);
        if (!Device.current().equals(Device.cpu())) {
            Tensor again = Functional.scaledDotProductAttention(heads.select(0, 0), heads.select(0, 1), heads.select(0, 2), false)
                    .permute(0, 2, 1, 3).reshape(2, 9, 128).neg();
            again.eval();
            assertEquals(2, Debug.lastPlan().steps().size(), "copies:\n" + Debug.lastPlan());
        }
    }

    @Test
    void queriesWithoutKeysGiveZero() {
        Tensor q = random(1, DType.F32, 2, 1, 3, 8);
        Tensor k = random(2, DType.F32, 2, 1, 4, 8);
        Tensor lengths = Tensor.of(new int[] {0, 2}, 2).eval();
        List<Tensor> all = Tensor.recordAll(new ScaledDotProductAttention(1, false), List.of(q, k, k, lengths));
        Tensor.eval(all.toArray(new Tensor[0]));
        assertArrayEquals(new double[24], all.get(0).slice(0, 0, 1).toDoubleArray());
        assertEquals(Double.NEGATIVE_INFINITY, all.get(1).slice(0, 0, 1).max().item());
        Tensor sameByHand = Functional.scaledDotProductAttention(q.slice(0, 1, 2), k.slice(0, 1, 2).slice(2, 0, 2),
                k.slice(0, 1, 2).slice(2, 0, 2), false);
        Tensor masked = Functional.scaledDotProductAttention(q, k, k, lengths, false).slice(0, 1, 2);
        TensorAssertions.assertClose(sameByHand, masked, 1e-6, 1e-6);
    }

    /** Hidden by minus infinity, by a large negative number, by a mask; a query that sees none gives 0, and no NaN. */
    @Test
    void aBiasHidesKeys() {
        Tensor q = random(1, DType.F32, 1, 2, 3, 8);
        Tensor k = random(2, DType.F32, 1, 2, 4, 8);
        boolean[] seen = {true, false, true, false, false, false, false, false, true, true, true, true}; // (T, S)
        double[] infinite = new double[12];
        double[] large = new double[12];
        for (int i = 0; i < 12; i++) {
            infinite[i] = seen[i] ? 0 : Double.NEGATIVE_INFINITY;
            large[i] = seen[i] ? 0 : -1e30;
        }
        Tensor mask = Tensor.of(infinite, 3, 4).ge(0);
        Tensor first = Functional.scaledDotProductAttention(q.slice(2, 0, 1), k.slice(2, 0, 3, 2), k.slice(2, 0, 3, 2), false);
        Tensor last = Functional.scaledDotProductAttention(q.slice(2, 2, 3), k, k, false);
        double[] expected = Tensor.concat(2, first, Tensor.zeros(1, 2, 1, 8), last).toDoubleArray();
        for (Tensor bias : List.of(mask, Tensor.of(infinite, 3, 4).to(DType.F32), Tensor.of(large, 3, 4).to(DType.F32))) {
            Tensor out = Functional.scaledDotProductAttention(q, k, k, null, bias, false, 0, null);
            List<Tensor> gradients = Gradients.of(out.square().sum(), q, k);
            TensorAssertions.assertClose(expected, out.toDoubleArray(), 1e-5, 1e-5, "out");
            List<Tensor> visible = Gradients.of(first.square().sum().add(last.square().sum()), q, k);
            TensorAssertions.assertClose(visible.get(0), gradients.get(0), 1e-5, 1e-5);
            TensorAssertions.assertClose(visible.get(1), gradients.get(1), 1e-5, 1e-5);
        }
    }

    @Test
    void dropoutKeepsTheMeanAndFollowsTheSeed() {
        Tensor q = Tensor.zeros(4, 8, 64, 8); // all keys weigh the same
        Tensor v = Tensor.ones(4, 8, 256, 8);
        Tensor[] out = new Tensor[3];
        for (int i = 0; i < 3; i++) {
            out[i] = Functional.scaledDotProductAttention(q, v, v, null, null, false, 0.25, new Generator(i / 2));
        }
        assertArrayEquals(out[0].toDoubleArray(), out[1].toDoubleArray(), "same seed");
        assertTrue(out[0].sub(out[2]).abs().max().item() > 0.01, "another seed");
        assertEquals(1, out[0].mean().item(), 0.002);
        double deviation = Math.sqrt(0.25 / 0.75 / 256); // of the mean of 256 numbers, 4/3 or 0
        assertEquals(deviation, Math.sqrt(out[0].sub(1).square().mean().item()), 0.05 * deviation);
    }

    /** Sixteen times as many scores, four times the memory. */
    @Test
    void scoresAreNeverStoredAsAWhole() {
        assumeFalse(Devices.CUDA, "what CUDA's kernels do not take is decomposed");
        for (int what = 0; what < 4; what++) {
            long[] peaks = new long[2];
            for (int size = 0; size < 2; size++) {
                long t = 512L << 2 * size;
                Tensor q = random(1, DType.F32, 1, 2, t, 8);
                Tensor lengths = what == 1 ? Tensor.of(new int[] {(int) t - 3}, 1) : null;
                Tensor bias = what == 2 ? random(2, DType.F32, 1, 1, 1, t) : null;
                Tensor out = Functional.scaledDotProductAttention(q, q, q, lengths, bias, what == 0, what == 3 ? 0.1 : 0, new Generator(1));
                Tensor loss = out.square().sum();
                List<Tensor> gradients = bias == null ? Gradients.of(loss, q) : Gradients.of(loss, q, bias);
                Tensor.eval(gradients.toArray(new Tensor[0]));
                peaks[size] = Debug.lastPlan().peakBytes();
            }
            assertTrue(peaks[1] <= 4.5 * peaks[0], "case " + what + ": " + peaks[0] + ", then " + peaks[1] + " bytes");
            assertTrue(peaks[1] < 4L * 2048 * 2048 * 2, "case " + what + ": " + peaks[1] + " bytes, as many as the scores");
        }
    }

    @Test
    void takesViewsOfOnePackedTensor() {
        for (DType dtype : List.of(DType.F32, DType.BF16)) {
            Tensor packed = random(3, dtype, 2, 21, 3, 2, 32); // (B, T, 3, H, D)
            Tensor q = packed.select(2, 0).transpose(1, 2); // (B, H, T, D)
            Tensor k = packed.select(2, 1).transpose(1, 2);
            Tensor v = packed.select(2, 2).transpose(1, 2);
            Tensor out = Functional.scaledDotProductAttention(q, k, v, true);
            compare(out, Gradients.of(out.square().to(DType.F32).sum(), packed).getFirst());
            Devices.assertKernel(true, ScaledDotProductAttention.Backward.class, dtype, "packed");
        }
    }

    /** A contiguous part of a tensor may start anywhere, which the tensor cores' kernels do not take. */
    @Test
    void takesPartsOfATensorThatAreNotAligned() {
        Tensor all = random(4, DType.BF16, 1 + 3 * 2 * 40 * 32);
        Tensor[] parts = new Tensor[3];
        for (int i = 0; i < 3; i++) {
            parts[i] = all.slice(0, 1 + i * 2 * 40 * 32L, 1 + (i + 1) * 2 * 40 * 32L).reshape(1, 2, 40, 32);
        }
        Tensor out = Functional.scaledDotProductAttention(parts[0], parts[1], parts[2], false);
        compare(out, Gradients.of(out.square().to(DType.F32).sum(), all).getFirst());
    }

    @Test
    void gradientThroughTheLogsumexp() {
        Tensor q = random(5, DType.F32, 1, 2, 5, 8);
        Tensor k = random(6, DType.F32, 1, 1, 7, 8);
        List<Tensor> all = Tensor.recordAll(new ScaledDotProductAttention(0.5, true), List.of(q, k, k));
        Tensor loss = all.get(0).square().sum().add(all.get(1).square().sum());
        List<Tensor> gradients = Gradients.of(loss, q, k);
        Slopes.compare(loss, q, gradients.get(0));
        Slopes.compare(loss, k, gradients.get(1));
    }

    @Test
    void gradientOfAGradient() {
        Tensor x = random(7, DType.F32, 1, 1, 4, 3);
        Tensor y = Functional.scaledDotProductAttention(x, x, x, true); // one tensor thrice
        Tensor gradient = Gradients.of(y.square().sum(), x).getFirst();
        Tensor loss = gradient.square().sum();
        Slopes.compare(loss, x, Gradients.of(loss, x).getFirst());
    }

    @Test
    void saysWhatDoesNotFit() {
        Tensor q = random(8, DType.F32, 1, 3, 5, 8);
        Tensor k = random(9, DType.F32, 1, 2, 5, 8);
        ShapeException heads = assertThrows(ShapeException.class, () -> Functional.scaledDotProductAttention(q, k, k, false));
        assertTrue(heads.getMessage().startsWith("scaled_dot_product_attention: queries f32(1, 3, 5, 8), keys f32(1, 2, 5, 8)"),
                heads.getMessage());
        assertThrows(ShapeException.class, () -> Functional.scaledDotProductAttention(q, q, k, false));
        assertThrows(ShapeException.class, () -> Functional.scaledDotProductAttention(q, q, q, Tensor.of(new long[] {5}, 1), false));
        assertThrows(ShapeException.class, () -> Functional.scaledDotProductAttention(q, q.to(DType.BF16), q, false));
        assertThrows(IllegalArgumentException.class, () -> new ScaledDotProductAttention(0, false));
    }
}
