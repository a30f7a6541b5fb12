// Gradients of the table's operations: against finite differences of the reference, and on the device against that.
package dev.heddle.engine;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.heddle.testing.NoLeaks;
import dev.heddle.testing.TensorAssertions;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

@NoLeaks
class OpGradientTest {
    static List<OpCases.Case> differentiable() {
        return OpCases.all().stream().filter(c -> c.differentiable() && c.args().stream().anyMatch(OpCases.Arg::floating)).toList();
    }

    @BeforeAll
    static void needsTheDevice() {
        OpTableTest.needsTheDevice();
    }

    @ParameterizedTest
    @MethodSource("differentiable")
    void gradientsAgreeWithFiniteDifferences(OpCases.Case row) {
        DType dtype = row.onlyF32() ? DType.F32 : DType.F64;
        List<Tensor> leaves = OpTableTest.leaves(row, dtype);
        Tensor y = OpTableTest.weighted(OpTableTest.apply(row, leaves));
        if (y == null) {
            return; // no output of the row is a float
        }
        List<Tensor> wrt = leaves.stream().filter(x -> x.dtype().isFloat()).toList();
        List<Tensor> gradients = Gradients.of(y, wrt.toArray(new Tensor[0]));
        List<Object> exact = ReferenceEvaluation.evaluate(gradients.toArray(new Tensor[0]));
        double h = 1e-6;
        for (int k = 0; k < wrt.size(); k++) {
            double[] gradient = OpTableTest.doubles(exact.get(k));
            assertEquals(wrt.get(k).spec(), gradients.get(k).spec());
            double[] direction = new Random(k).doubles(gradient.length, -1, 1).toArray();
            double slope = 0;
            for (int i = 0; i < gradient.length; i++) {
                slope += gradient[i] * direction[i];
            }
            double difference = (moved(y, wrt.get(k), direction, h) - moved(y, wrt.get(k), direction, -h)) / (2 * h);
            assertEquals(difference, slope, 1e-5 * Math.max(1, Math.abs(difference)), row + ": gradient of input " + k);
            double tolerance = Math.max(1e-12, OpTableTest.tolerance(dtype)) * row.slack() * 10;
            double scale = java.util.Arrays.stream(gradient).map(Math::abs).max().orElse(0);
            TensorAssertions.assertClose(gradient, gradients.get(k).toDoubleArray(), tolerance, tolerance * Math.max(1, scale),
                    row + ": gradient of input " + k + " on the device");
        }
    }

    private static double moved(Tensor y, Tensor leaf, double[] direction, double h) {
        double[] values = leaf.toDoubleArray();
        for (int i = 0; i < values.length; i++) {
            values[i] += h * direction[i];
        }
        return OpTableTest.doubles(ReferenceEvaluation.evaluate(List.of(y), leaf, values).getFirst())[0];
    }
}
