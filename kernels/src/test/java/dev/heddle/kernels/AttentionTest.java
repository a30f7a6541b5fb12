// Attention beyond the table: views, masks, errors, gradients of gradients.
package dev.heddle.kernels;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.heddle.engine.DType;
import dev.heddle.engine.Debug;
import dev.heddle.engine.Device;
import dev.heddle.engine.Gradients;
import dev.heddle.engine.ReferenceEvaluation;
import dev.heddle.engine.ShapeException;
import dev.heddle.engine.Tensor;
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
        Tensor out = FusedFunctions.scaledDotProductAttention(heads.select(0, 0), heads.select(0, 1), heads.select(0, 2), true);
        Tensor joined = out.permute(0, 2, 1, 3).reshape(2, 9, 128); // (B, T, H D)
        Tensor gradient = Gradients.of(joined.to(DType.F32).square().sum().to(dtype), packed).getFirst();
        compare(joined, gradient);
        if (!Device.current().equals(Device.cpu())) {
            Tensor again = FusedFunctions.scaledDotProductAttention(heads.select(0, 0), heads.select(0, 1), heads.select(0, 2), false)
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
        Tensor sameByHand = FusedFunctions.scaledDotProductAttention(q.slice(0, 1, 2), k.slice(0, 1, 2).slice(2, 0, 2),
                k.slice(0, 1, 2).slice(2, 0, 2), false);
        Tensor masked = FusedFunctions.scaledDotProductAttention(q, k, k, lengths, false).slice(0, 1, 2);
        TensorAssertions.assertClose(sameByHand, masked, 1e-6, 1e-6);
    }

    @Test
    void takesViewsOfOnePackedTensor() {
        for (DType dtype : List.of(DType.F32, DType.BF16)) {
            Tensor packed = random(3, dtype, 2, 21, 3, 2, 32); // (B, T, 3, H, D)
            Tensor q = packed.select(2, 0).transpose(1, 2); // (B, H, T, D)
            Tensor k = packed.select(2, 1).transpose(1, 2);
            Tensor v = packed.select(2, 2).transpose(1, 2);
            Tensor out = FusedFunctions.scaledDotProductAttention(q, k, v, true);
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
        Tensor out = FusedFunctions.scaledDotProductAttention(parts[0], parts[1], parts[2], false);
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
        Tensor y = FusedFunctions.scaledDotProductAttention(x, x, x, true); // one tensor thrice
        Tensor gradient = Gradients.of(y.square().sum(), x).getFirst();
        Tensor loss = gradient.square().sum();
        Slopes.compare(loss, x, Gradients.of(loss, x).getFirst());
    }

    @Test
    void saysWhatDoesNotFit() {
        Tensor q = random(8, DType.F32, 1, 3, 5, 8);
        Tensor k = random(9, DType.F32, 1, 2, 5, 8);
        ShapeException heads = assertThrows(ShapeException.class, () -> FusedFunctions.scaledDotProductAttention(q, k, k, false));
        assertTrue(heads.getMessage().startsWith("scaled_dot_product_attention: queries f32(1, 3, 5, 8), keys f32(1, 2, 5, 8)"),
                heads.getMessage());
        assertThrows(ShapeException.class, () -> FusedFunctions.scaledDotProductAttention(q, q, k, false));
        assertThrows(ShapeException.class, () -> FusedFunctions.scaledDotProductAttention(q, q, q, Tensor.of(new long[] {5}, 1), false));
        assertThrows(ShapeException.class, () -> FusedFunctions.scaledDotProductAttention(q, q.to(DType.BF16), q, false));
        assertThrows(IllegalArgumentException.class, () -> new ScaledDotProductAttention(0, false));
    }
}
