// A kernel is checked before it is timed.
package dev.heddle.bench.kernel;

import dev.heddle.engine.Device;
import dev.heddle.engine.ReferenceEvaluation;
import dev.heddle.engine.Tensor;
import java.util.ArrayList;
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
        double worst = 0;
        int compared = 0;
        for (long row = 0; row < n; row += Math.max(1, n - 1)) {
            List<double[]> expected = values(kernel.reference().apply(hostInputs(kernel, inputs, row)), outputs.getFirst().device());
            for (int k = 0; k < outputs.size(); k++) {
                Tensor seen = outputs.get(k);
                if (kernel.rows() == 0 || seen.shape().rank() > 0 && seen.dim(0) == n) {
                    double[] actual = (kernel.rows() == 0 ? seen : seen.slice(0, row, row + 1)).toDoubleArray();
                    double error = error(expected.get(k), actual);
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

    private static List<Tensor> hostInputs(KernelCase kernel, List<Tensor> inputs, long row) {
        List<Tensor> some = new ArrayList<>();
        for (int i = 0; i < inputs.size(); i++) {
            some.add((i < kernel.rows() ? inputs.get(i).slice(0, row, row + 1) : inputs.get(i)).to(Device.cpu()));
        }
        return some;
    }

    /** All at once, for what they share is computed once. */
    private static List<double[]> values(List<Tensor> expected, Device device) {
        Tensor[] all = expected.toArray(new Tensor[0]);
        if (device.type() != Device.Type.CPU) {
            Tensor.eval(all);
            return expected.stream().map(Tensor::toDoubleArray).toList();
        }
        return ReferenceEvaluation.evaluate(all).stream()
                .map(values -> values instanceof long[] integers ? LongStream.of(integers).asDoubleStream().toArray() : (double[]) values).toList();
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
