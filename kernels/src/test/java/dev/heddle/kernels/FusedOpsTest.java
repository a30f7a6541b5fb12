// Runs the table of fused ops: values against the reference, gradients against the decomposition's, and whether kernels ran.
package dev.heddle.kernels;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.heddle.engine.DType;
import dev.heddle.engine.Functional;
import dev.heddle.engine.Gradients;
import dev.heddle.engine.ReferenceEvaluation;
import dev.heddle.engine.Tensor;
import dev.heddle.engine.fused.CrossEntropy;
import dev.heddle.engine.fused.Dropout;
import dev.heddle.engine.op.Fused;
import dev.heddle.testing.NoLeaks;
import dev.heddle.testing.TensorAssertions;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

@NoLeaks
class FusedOpsTest {
    /** The rows of one op. */
    record Rows(String op, List<FusedCases.Case> rows) {
        @Override
        public String toString() {
            return op + ", " + rows.size() + " rows";
        }
    }

    static List<Rows> ops() {
        Map<String, List<FusedCases.Case>> rows = new LinkedHashMap<>();
        Stream.concat(FusedCases.rows().stream(), FusedCases.attention().stream())
                .forEach(row -> rows.computeIfAbsent(row.op().name(), name -> new ArrayList<>()).add(row));
        return rows.entrySet().stream().map(e -> new Rows(e.getKey(), e.getValue())).toList();
    }

    @BeforeAll
    static void needsTheDevice() {
        Devices.needsTheDevice();
    }

    private static void compare(FusedCases.Case row, Object expected, Tensor actual, DType dtype, String which) {
        double[] e = (double[]) expected;
        double largest = Arrays.stream(e).filter(Double::isFinite).map(Math::abs).max().orElse(0);
        double tolerance = Devices.tolerance(dtype) * row.slack();
        TensorAssertions.assertClose(e, actual.toDoubleArray(), tolerance, tolerance * Math.max(1, largest),
                row + ": " + which + " in " + dtype);
    }

    @ParameterizedTest
    @MethodSource("ops")
    void agreesWithTheReference(Rows of) {
        for (FusedCases.Case row : of.rows()) {
            row.dtypes().forEach(dtype -> agreesWithTheReference(row, dtype));
        }
    }

    private static void agreesWithTheReference(FusedCases.Case row, DType dtype) {
        Tensor[] outputs = Tensor.recordAll(row.op(), row.leaves(dtype)).toArray(new Tensor[0]);
        List<Object> expected = ReferenceEvaluation.evaluate(outputs);
        Tensor.eval(outputs);
        Devices.assertKernel(row.hasKernel(), row.op().getClass(), dtype, row.toString());
        for (int i = 0; i < outputs.length; i++) {
            compare(row, expected.get(i), outputs[i], dtype, "output " + i);
        }
    }

    /** The first outputs, weighted by fixed random numbers and summed. */
    private static Tensor loss(List<Tensor> outputs, int count) {
        Tensor loss = null;
        for (Tensor output : outputs.subList(0, count)) {
            double[] weights = new Random(count).doubles(output.elements(), -1, 1).toArray();
            Tensor part = output.mul(Tensor.of(weights, output.shape().dims()).to(output.dtype())).to(DType.F64).sum();
            loss = loss == null ? part : loss.add(part);
        }
        return loss;
    }

    /** The gradients of a loss of a row's outputs, twice: by the op, and, in the reference, by its decomposition. */
    @ParameterizedTest
    @MethodSource("ops")
    void gradientsAgreeWithTheDecomposition(Rows of) {
        for (FusedCases.Case row : of.rows()) {
            row.dtypes().forEach(dtype -> gradientsAgreeWithTheDecomposition(row, dtype));
        }
    }

    private static void gradientsAgreeWithTheDecomposition(FusedCases.Case row, DType dtype) {
        List<Tensor> leaves = row.leaves(dtype);
        Tensor[] wrt = leaves.stream().filter(x -> x.dtype().isFloat()).toArray(Tensor[]::new);
        List<Tensor> decomposed = Gradients.of(loss(row.op().decompose(leaves), row.differentiated()), wrt);
        List<Object> expected = ReferenceEvaluation.evaluate(decomposed.toArray(new Tensor[0]));
        double[][] first = null;
        for (int run = 0; run < 2; run++) { // the same bits again
            List<Tensor> gradients = Gradients.of(loss(Tensor.recordAll(row.op(), leaves), row.differentiated()), wrt);
            Tensor.eval(gradients.toArray(new Tensor[0]));
            if (!(row.op() instanceof GlobalNorm)) { // whose gradient is that of its decomposition
                Devices.assertKernel(row.hasKernel(), backward(row), dtype, row.toString());
            }
            double[][] values = gradients.stream().map(Tensor::toDoubleArray).toArray(double[][]::new);
            first = first == null ? values : first;
            for (int k = 0; k < wrt.length; k++) {
                assertEquals(wrt[k].spec(), gradients.get(k).spec());
                compare(row, expected.get(k), gradients.get(k), dtype, "gradient of input " + k);
                assertArrayEquals(first[k], values[k], row + ": gradient of input " + k + " in " + dtype + ", second run");
            }
        }
    }

    /** A loss and its gradient are one step where the gradient does not need the loss. */
    @Test
    void crossEntropyAndItsGradientAreJoined() {
        for (DType dtype : List.of(DType.F32, DType.BF16, DType.F16)) {
            for (long[] shape : new long[][] {{5, 7}, {33, 129}, {3, 5000}}) {
                FusedCases.Case row = new FusedCases.Case(new CrossEntropy(FusedCases.IGNORED, 0.1), 1,
                        List.of(FusedCases.floats(shape), FusedCases.labels(shape[1], shape[0])));
                List<Tensor> leaves = row.leaves(dtype);
                Tensor each = Functional.crossEntropy(leaves.get(0), leaves.get(1), FusedCases.IGNORED, 0.1); // (N)
                for (boolean square : new boolean[] {false, true}) { // whose gradient needs the loss
                    Tensor loss = square ? each.square().mean() : each.mean();
                    Tensor again = loss.add(1); // a reader of the loss in front of the gradient
                    Tensor gradient = Gradients.of(loss, leaves.get(0)).getFirst();
                    List<Object> expected = ReferenceEvaluation.evaluate(again, gradient);
                    Tensor.eval(again, gradient);
                    Devices.assertKernel(Devices.CUDA && !square, CrossEntropy.ForwardBackward.class, dtype, "loss and gradient");
                    compare(row, expected.get(0), again, dtype, "loss");
                    compare(row, expected.get(1), gradient, dtype, "gradient");
                }
            }
        }
    }

    /** The op that the gradient of a row consists of: the nested record, or the plain norm's where no gradient of a sum flows. */
    private static Class<? extends Fused> backward(FusedCases.Case row) {
        if (row.differentiated() == 1 && row.op() instanceof ResidualLayerNorm) {
            return dev.heddle.engine.fused.LayerNorm.Backward.class;
        }
        if (row.differentiated() == 1 && row.op() instanceof ResidualRmsNorm) {
            return dev.heddle.engine.fused.RmsNorm.Backward.class;
        }
        return Stream.of(row.op().getClass().getDeclaredClasses()).filter(c -> c.getSimpleName().equals("Backward")).findFirst()
                .<Class<? extends Fused>>map(c -> c.asSubclass(Fused.class)).orElse(Dropout.class); // which is its own
    }
}
