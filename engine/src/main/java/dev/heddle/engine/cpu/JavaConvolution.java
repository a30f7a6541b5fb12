// Convolution in plain Java: for machines without oneDNN, and for what it has no fast kernel for.
package dev.heddle.engine.cpu;

import dev.heddle.engine.DType;
import dev.heddle.engine.memory.Float16;
import dev.heddle.engine.memory.Memory;
import dev.heddle.engine.op.Convolution;
import dev.heddle.engine.plan.Kernel;
import dev.heddle.engine.plan.Layout;
import java.util.List;

/**
 * Direct convolution over one to three axes, seen as three, all operands contiguous. Sums run in double precision in a fixed
 * order: a thread owns whole planes of the result.
 */
final class JavaConvolution implements Kernel {
    private final Convolution.Direction direction;
    private final DType dtype;
    private final long batch;
    private final int channels;
    private final int outChannels;
    private final int groups;
    private final int[] in = new int[3];
    private final int[] out = new int[3];
    private final int[] kernel = new int[3];
    private final int[] stride = new int[3];
    private final int[] before = new int[3];
    private final int[] dilation = new int[3];
    private final int inPlane;
    private final int outPlane;
    private final int taps;
    private final WorkerPool.RangeBody body;
    private long first;
    private long second;
    private long result;

    private JavaConvolution(Convolution op, List<Layout> inputs, Layout output) {
        direction = op.direction();
        dtype = output.dtype();
        groups = op.groups();
        Layout x = direction == Convolution.Direction.BACKWARD_DATA ? output : inputs.get(0);
        Layout w = direction == Convolution.Direction.BACKWARD_WEIGHTS ? output : inputs.get(1);
        Layout y = direction == Convolution.Direction.FORWARD ? output
                : inputs.get(direction == Convolution.Direction.BACKWARD_DATA ? 0 : 1);
        batch = x.shape().dim(0);
        channels = Math.toIntExact(x.shape().dim(1));
        outChannels = Math.toIntExact(y.shape().dim(1));
        int d = op.window().dims();
        for (int i = 0; i < 3; i++) {
            int axis = i - (3 - d);
            boolean real = axis >= 0;
            in[i] = real ? Math.toIntExact(x.shape().dim(axis + 2)) : 1;
            out[i] = real ? Math.toIntExact(y.shape().dim(axis + 2)) : 1;
            kernel[i] = real ? Math.toIntExact(w.shape().dim(axis + 2)) : 1;
            stride[i] = real ? op.window().stride().get(axis) : 1;
            before[i] = real ? op.window().before().get(axis) : 0;
            dilation[i] = real ? op.window().dilation().get(axis) : 1;
        }
        inPlane = in[0] * in[1] * in[2];
        outPlane = out[0] * out[1] * out[2];
        taps = kernel[0] * kernel[1] * kernel[2];
        body = switch (direction) {
            case FORWARD -> this::forward;
            case BACKWARD_DATA -> this::backwardData;
            case BACKWARD_WEIGHTS -> this::backwardWeights;
        };
    }

    static JavaConvolution of(Convolution op, List<Layout> inputs, Layout output) {
        return new JavaConvolution(op, inputs, output);
    }

    @Override
    public void run(long[] addresses) {
        first = addresses[0];
        second = addresses[1];
        result = addresses[2];
        long planes = switch (direction) {
            case FORWARD -> batch * outChannels;
            case BACKWARD_DATA -> batch * channels;
            case BACKWARD_WEIGHTS -> (long) outChannels * (channels / groups);
        };
        if (planes > 0) {
            WorkerPool.shared().parallelFor(planes, 1, body);
        }
    }

    /** Where tap {@code t} of the window at output pixel {@code p} lies in a plane of x, or -1 in the padding. */
    private int source(int p, int t) {
        int iz = p / (out[1] * out[2]) * stride[0] - before[0] + t / (kernel[1] * kernel[2]) * dilation[0];
        int iy = p / out[2] % out[1] * stride[1] - before[1] + t / kernel[2] % kernel[1] * dilation[1];
        int ix = p % out[2] * stride[2] - before[2] + t % kernel[2] * dilation[2];
        boolean inside = iz >= 0 && iz < in[0] && iy >= 0 && iy < in[1] && ix >= 0 && ix < in[2];
        return inside ? (iz * in[1] + iy) * in[2] + ix : -1;
    }

    private void forward(long from, long to) {
        int perGroup = channels / groups;
        double[] sums = new double[outPlane];
        for (long plane = from; plane < to; plane++) {
            long n = plane / outChannels;
            int o = (int) (plane % outChannels);
            int group = o / (outChannels / groups);
            java.util.Arrays.fill(sums, 0);
            for (int c = 0; c < perGroup; c++) {
                long x = (n * channels + group * perGroup + c) * inPlane;
                for (int t = 0; t < taps; t++) {
                    double weight = get(second, ((long) o * perGroup + c) * taps + t);
                    for (int p = 0; p < outPlane; p++) {
                        int at = source(p, t);
                        if (at >= 0) {
                            sums[p] += weight * get(first, x + at);
                        }
                    }
                }
            }
            for (int p = 0; p < outPlane; p++) {
                put(result, plane * outPlane + p, sums[p]);
            }
        }
    }

    private void backwardData(long from, long to) {
        int perGroup = channels / groups;
        int outPerGroup = outChannels / groups;
        double[] sums = new double[inPlane];
        for (long plane = from; plane < to; plane++) {
            long n = plane / channels;
            int channel = (int) (plane % channels);
            int group = channel / perGroup;
            int c = channel % perGroup;
            java.util.Arrays.fill(sums, 0);
            for (int o = group * outPerGroup; o < (group + 1) * outPerGroup; o++) {
                long y = (n * outChannels + o) * outPlane;
                for (int t = 0; t < taps; t++) {
                    double weight = get(second, ((long) o * perGroup + c) * taps + t);
                    for (int p = 0; p < outPlane; p++) {
                        int at = source(p, t);
                        if (at >= 0) {
                            sums[at] += weight * get(first, y + p);
                        }
                    }
                }
            }
            for (int p = 0; p < inPlane; p++) {
                put(result, plane * inPlane + p, sums[p]);
            }
        }
    }

    private void backwardWeights(long from, long to) {
        int perGroup = channels / groups;
        double[] sums = new double[taps];
        for (long plane = from; plane < to; plane++) {
            int o = (int) (plane / perGroup);
            int channel = o / (outChannels / groups) * perGroup + (int) (plane % perGroup);
            java.util.Arrays.fill(sums, 0);
            for (long n = 0; n < batch; n++) {
                long x = (n * channels + channel) * inPlane;
                long y = (n * outChannels + o) * outPlane;
                for (int t = 0; t < taps; t++) {
                    for (int p = 0; p < outPlane; p++) {
                        int at = source(p, t);
                        if (at >= 0) {
                            sums[t] += get(second, y + p) * get(first, x + at);
                        }
                    }
                }
            }
            for (int t = 0; t < taps; t++) {
                put(result, plane * taps + t, sums[t]);
            }
        }
    }

    private double get(long base, long i) {
        return switch (dtype) {
            case F32 -> Memory.getFloat(base + 4 * i);
            case F64 -> Memory.getDouble(base + 8 * i);
            case BF16 -> Float16.bfloat16(Memory.getShort(base + 2 * i));
            default -> Float.float16ToFloat(Memory.getShort(base + 2 * i));
        };
    }

    private void put(long base, long i, double value) {
        switch (dtype) {
            case F32 -> Memory.putFloat(base + 4 * i, (float) value);
            case F64 -> Memory.putDouble(base + 8 * i, value);
            case BF16 -> Memory.putShort(base + 2 * i, Float16.toBfloat16((float) value));
            default -> Memory.putShort(base + 2 * i, Float.floatToFloat16((float) value));
        }
    }
}
