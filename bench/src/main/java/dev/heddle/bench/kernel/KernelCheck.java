// A kernel is checked before it is timed.
package dev.heddle.bench.kernel;

import dev.heddle.engine.Device;
import dev.heddle.engine.ReferenceEvaluation;
import dev.heddle.engine.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.LongStream;

/**
 * Compares outputs on the CPU with the reference backend, which computes in double, and outputs on a GPU with the CPU backend, whose own
 * kernels the tests hold to the reference: the first and last rows, or everything.
 */
final class KernelCheck {
    private KernelCheck() {}

    /**
     * The largest relative error of any output that can be compared; NaN if there is a NaN.
     *
     * @throws IllegalStateException if no output could be compared
     */
    static double error(KernelCase kernel, List<Tensor> inputs, List<Tensor> outputs) {
        long n = kernel.rows() == 0 ? 1 : inputs.getFirst().dim(0);
        boolean host = outputs.getFirst().device().type() == Device.Type.CPU;
        long[] rows = n == 1 ? new long[] {0} : new long[] {0, n - 1};
        List<List<Tensor>> recorded = Arrays.stream(rows).mapToObj(row -> kernel.reference().apply(hostInputs(kernel, inputs, row))).toList();
        // The reference is slow, and knows one thread.
        List<List<double[]>> expected = (host ? recorded.parallelStream().map(KernelCheck::reference) : recorded.stream().map(KernelCheck::values)).toList();
        double worst = 0;
        int compared = 0;
        for (int i = 0; i < rows.length; i++) {
            for (int k = 0; k < outputs.size(); k++) {
                Tensor seen = outputs.get(k);
                if (kernel.rows() == 0 || hasRows(seen, n) && hasRows(recorded.get(i).get(k), 1)) {
                    double[] actual = (kernel.rows() == 0 ? seen : seen.slice(0, rows[i], rows[i] + 1)).toDoubleArray();
                    double error = error(expected.get(i).get(k), actual);
                    worst = error <= worst ? worst : error; // NaN stays
                    compared++;
                }
            }
        }
        if (compared == 0) {
            throw new IllegalStateException("no output has " + n + " rows, so none could be checked");
        }
        return worst;
    }

    private static boolean hasRows(Tensor x, long n) {
        return x.shape().rank() > 0 && x.dim(0) == n;
    }

    private static List<Tensor> hostInputs(KernelCase kernel, List<Tensor> inputs, long row) {
        List<Tensor> some = new ArrayList<>();
        for (int i = 0; i < inputs.size(); i++) {
            some.add((i < kernel.rows() ? inputs.get(i).slice(0, row, row + 1) : inputs.get(i)).to(Device.cpu()));
        }
        return some;
    }

    /** All at once, for what they share is computed once; so in the next. */
    private static List<double[]> reference(List<Tensor> expected) {
        return ReferenceEvaluation.evaluate(expected.toArray(new Tensor[0])).stream()
                .map(values -> values instanceof long[] integers ? LongStream.of(integers).asDoubleStream().toArray() : (double[]) values).toList();
    }

    private static List<double[]> values(List<Tensor> expected) {
        Tensor.eval(expected.toArray(new Tensor[0]));
        return expected.stream().map(Tensor::toDoubleArray).toList();
    }

    /** Root of the sum of squares of a difference, relative to that of {@code expected}; NaN if anything is, infinity for other lengths. */
    static double error(double[] expected, double[] actual) {
        if (expected.length != actual.length) {
            return Double.POSITIVE_INFINITY;
        }
        double difference = 0;
        double norm = 0;
        for (int i = 0; i < expected.length; i++) {
            difference += (actual[i] - expected[i]) * (actual[i] - expected[i]);
            norm += expected[i] * expected[i];
        }
        return Math.sqrt(difference / Math.max(norm, Double.MIN_NORMAL));
    }
}
