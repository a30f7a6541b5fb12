// The functions by hand-computed values, gradients where tensors meet twice, and errors.
package dev.heddle.kernels;

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
import java.util.List;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

@NoLeaks
class FusedFunctionsTest {
    @BeforeAll
    static void needsTheDevice() {
        Devices.needsTheDevice();
    }

    private static Tensor random(long seed, long... shape) {
        return FusedCases.floats(shape).leaf(DType.F32, seed);
    }

    private static void close(Tensor actual, double... expected) {
        TensorAssertions.assertClose(expected, actual.toDoubleArray(), 1e-5, 1e-5, actual.toString());
    }

    @Test
    void values() {
        Tensor x = Tensor.of(new float[] {-2, 0, 1}, 1, 3).eval();
        Tensor bias = Tensor.of(new float[] {0.5f, 0, 1}).eval(); // sums -1.5, 0, 2
        close(FusedFunctions.biasRelu(x, bias), 0, 0, 2);
        close(FusedFunctions.biasSilu(x, bias), -1.5 / (1 + Math.exp(1.5)), 0, 2 / (1 + Math.exp(-2)));
        close(FusedFunctions.biasGelu(x, bias), -0.1002108, 0, 1.9544997); // x Phi(x)
        close(FusedFunctions.biasGeluTanh(x, bias), -0.1004284, 0, 1.9545977);
        close(FusedFunctions.swiGlu(x, bias.reshape(1, 3)), -1 / (1 + Math.exp(2)), 0, 1 / (1 + Math.exp(-1)));
    }

    @Test
    void residualNormsGiveTheSumToo() {
        Tensor x = Tensor.of(new float[] {1, 2}, 1, 2).eval();
        Tensor residual = Tensor.of(new float[] {2, 2}, 1, 2).eval(); // sum 3, 4
        Tensor weight = Tensor.of(new float[] {1, 2}).eval();
        List<Tensor> layer = FusedFunctions.residualLayerNorm(x, residual, weight, Tensor.of(new float[] {0, 1}), 0);
        assertEquals(2, layer.size());
        close(layer.get(0), -1, 3);
        close(layer.get(1), 3, 4);
        List<Tensor> rms = FusedFunctions.residualRmsNorm(x, residual, weight, 0);
        close(rms.get(0), 3 / Math.sqrt(12.5), 8 / Math.sqrt(12.5));
        close(rms.get(1), 3, 4);
    }

    @Test
    void gradientOfABiasUsedTwice() {
        Tensor x = random(1, 3, 5);
        Tensor bias = random(2, 5);
        Tensor loss = FusedFunctions.biasSilu(FusedFunctions.biasGelu(x, bias), bias).square().sum();
        Slopes.compare(loss, bias, Gradients.of(loss, bias).getFirst());
        Slopes.compare(loss, x, Gradients.of(loss, x).getFirst());
    }

    @Test
    void gradientsOfOneTensorGivenTwice() {
        Tensor x = random(3, 3, 5);
        Tensor loss = FusedFunctions.swiGlu(x, x).square().sum();
        Slopes.compare(loss, x, Gradients.of(loss, x).getFirst());
        List<Tensor> norm = Tensor.recordAll(new ResidualRmsNorm(0.1), List.of(x, x, Tensor.ones(5)));
        Tensor sums = norm.get(0).square().sum().add(norm.get(2).sum()); // the last by way of the decomposition
        Slopes.compare(sums, x, Gradients.of(sums, x).getFirst());
    }

    @Test
    void gradientsOfGradients() {
        Tensor x = random(4, 3, 5);
        Tensor weight = random(5, 5);
        List<Tensor> losses = List.of(FusedFunctions.biasGeluTanh(x, weight).square().sum(),
                FusedFunctions.swiGlu(x, x.mul(weight)).square().sum(),
                FusedFunctions.residualRmsNorm(x, x.mul(0.5), weight, 0.1).getFirst().square().sum(),
                FusedFunctions.residualLayerNorm(x, x.square(), weight, weight, 0.1).getFirst().square().sum(),
                Functional.softmax(x, -1).square().mul(weight).sum(),
                Functional.layerNorm(x, weight, weight, 0.1).square().sum());
        for (Tensor loss : losses) {
            Tensor steepness = Gradients.of(loss, x).getFirst().square().sum();
            Slopes.compare(steepness, x, Gradients.of(steepness, x).getFirst());
            Slopes.compare(steepness, weight, Gradients.of(steepness, weight).getFirst());
        }
    }

    @Test
    void saysWhatDoesNotFit() {
        Tensor x = random(6, 3, 5);
        ShapeException bias = assertThrows(ShapeException.class, () -> FusedFunctions.biasGelu(x, Tensor.zeros(3)));
        assertTrue(bias.getMessage().contains("bias_gelu: bias f32(3) for input f32(3, 5)"), bias.getMessage());
        assertThrows(ShapeException.class, () -> FusedFunctions.swiGlu(x, random(7, 3, 4)));
        assertThrows(ShapeException.class, () -> FusedFunctions.residualRmsNorm(x, random(8, 5), Tensor.ones(5), 0.1));
        assertThrows(ShapeException.class, () -> FusedFunctions.residualLayerNorm(x, x, Tensor.ones(5), Tensor.ones(4), 0.1));
    }
}
