// What the convolution layers share.
package dev.heddle.layers;

import dev.heddle.engine.Functional;
import dev.heddle.engine.Tensor;
import dev.heddle.engine.Variable;
import dev.heddle.engine.op.Window;
import java.util.Arrays;
import java.util.List;

/** A convolution over {@code d} axes; see {@link Conv1d} and {@link Conv2d}. */
abstract class Convolution extends Layer {
    private final Variable weight;
    private final Variable bias;
    private final Window window;
    private final int groups;

    Convolution(int d, Options options) {
        if (options.in < 1 || options.out < 1 || options.kernel < 1 || options.groups < 1 || options.in % options.groups != 0
                || options.out % options.groups != 0) {
            throw new IllegalArgumentException("conv" + d + "d: " + options.in + " to " + options.out + " channels, kernel "
                    + options.kernel + ", " + options.groups + " groups");
        }
        long[] shape = new long[d + 2];
        Arrays.fill(shape, options.kernel);
        shape[0] = options.out;
        shape[1] = options.in / options.groups;
        double bound = Init.defaultBound(shape);
        weight = parameter("weight", Init.uniform(-bound, bound, shape));
        bias = options.bias ? parameter("bias", Init.uniform(-bound, bound, options.out)) : null;
        groups = options.groups;
        Integer[] after = new Integer[d];
        Arrays.fill(after, options.after);
        Window even = Functional.window(d, options.stride, options.before, options.dilation);
        window = new Window(even.stride(), even.before(), List.of(after), even.dilation());
    }

    /** {@code (out, in / groups, *kernel)}. */
    public final Variable weight() {
        return weight;
    }

    /** {@code (out)}, or null. */
    public final Variable bias() {
        return bias;
    }

    @Override
    public final Tensor forward(Tensor x) {
        return Functional.conv(x, weight.value(), bias == null ? null : bias.value(), window, groups);
    }

    @Override
    public final String toString() {
        return getClass().getSimpleName() + "(" + weight.shape().dim(1) * groups + ", " + weight.shape().dim(0) + ", kernel "
                + weight.shape().dim(2) + ")";
    }

    /** The options of both builders; kernel, stride, padding and dilation are the same along all axes. */
    static final class Options {
        final int in;
        final int out;
        final int kernel;
        int stride = 1;
        int before;
        int after;
        int dilation = 1;
        int groups = 1;
        boolean bias = true;
        boolean same;

        Options(int in, int out, int kernel) {
            this.in = in;
            this.out = out;
            this.kernel = kernel;
        }

        Options resolved() {
            if (same) {
                int span = dilation * (kernel - 1);
                before = span / 2;
                after = span - before;
            }
            return this;
        }
    }
}
