// Max and average pooling, forward and backward.
package dev.heddle.engine.cpu;

import dev.heddle.engine.DType;
import dev.heddle.engine.memory.Float16;
import dev.heddle.engine.memory.Memory;
import dev.heddle.engine.op.Pooling;
import dev.heddle.engine.plan.Kernel;
import dev.heddle.engine.plan.Layout;
import java.util.Arrays;
import java.util.List;

/**
 * Pooling over one to three axes, seen as three. All operands are contiguous or all are channels-last. What oneDNN has a
 * kernel for is done there ({@link OneDnnPooling}); of the rest, channels-last {@code F32} runs over vectors of channels
 * ({@link VectorPooling}), everything else element by element. An image belongs to one thread, so that overlapping windows
 * add up in a fixed order.
 *
 * <p>Own loops and oneDNN in one run, two cores, us (max, its backward, average, its backward), channels-last {@code F32}: 2x2 on
 * (64, 64, 24, 24) 530, 1059, 620, 662 and 336, 829, 260, 406; 3x3 by 2 on (32, 64, 56, 56) 5189, 12344, 2990, 5679 and 1873,
 * 5215, 1761, 2056. From 20 channels on, contiguous {@code F32} is 12 to 380 times as fast through oneDNN (one axis: 1.5 to 14),
 * {@code BF16} 17 to 490 times; with 1 or 3 channels, 1.4 to 80 times.
 */
final class PoolingKernel implements Kernel {
    final Pooling op;
    final DType dtype;
    final long images;
    final long channels;
    final int[] in = new int[3]; // spatial extents of x
    final int[] out = new int[3]; // of y
    final int[] kernel = new int[3];
    final int[] stride = new int[3];
    final int[] before = new int[3];
    final int[] dilation = new int[3];
    private final int[] after = new int[3];
    private final boolean channelsLast;
    private final boolean vector;
    final boolean tiles; // windows lie side by side and cover x: each of its elements is in exactly one
    private final WorkerPool.RangeBody body; // of images if vectors are used, else of planes
    private final OneDnnPooling planned; // null where oneDNN has none
    private final WorkerPool.RangeBody ownImages = this::ownImages;
    long first; // x, or dy of an average's backward
    long second; // dy or v
    long result;

    private PoolingKernel(Pooling op, List<Layout> inputs, Layout output) {
        this.op = op;
        Layout x = op.direction() == Pooling.Direction.BACKWARD ? output : inputs.getFirst();
        Layout y = op.direction() == Pooling.Direction.BACKWARD ? inputs.getLast() : output;
        dtype = x.dtype();
        images = x.shape().dim(0);
        channels = x.shape().dim(1);
        int d = op.window().dims();
        for (int i = 0; i < 3; i++) {
            int axis = i - (3 - d);
            boolean real = axis >= 0;
            in[i] = real ? Math.toIntExact(x.shape().dim(axis + 2)) : 1;
            out[i] = real ? Math.toIntExact(y.shape().dim(axis + 2)) : 1;
            kernel[i] = real ? op.kernel().get(axis) : 1;
            stride[i] = real ? op.window().stride().get(axis) : 1;
            before[i] = real ? op.window().before().get(axis) : 0;
            after[i] = real ? op.window().after().get(axis) : 0;
            dilation[i] = real ? op.window().dilation().get(axis) : 1;
        }
        boolean covers = true;
        for (int i = 0; i < 3; i++) {
            covers &= stride[i] == kernel[i] && dilation[i] == 1 && before[i] == 0 && in[i] == out[i] * kernel[i];
        }
        tiles = covers;
        channelsLast = !x.isContiguous();
        vector = dtype == DType.F32 && channels >= 4 && x.isChannelsLast() && y.isChannelsLast();
        body = vector ? new VectorPooling(this)::run : this::run;
        planned = dtype == DType.F64 ? null : OneDnnPooling.of(new OneDnnPoolingShape(op, dtype, images, channels,
                Arrays.stream(x.shape().dims()).skip(2).boxed().toList(), channelsLast));
    }

    static PoolingKernel of(Pooling op, List<Layout> inputs, Layout output) {
        return new PoolingKernel(op, inputs, output);
    }

    @Override
    public long workspaceBytes() {
        return planned == null ? 0 : planned.workspaceBytes();
    }

    @Override
    public void run(long[] addresses) {
        boolean two = op.kind() == Pooling.Kind.MAX && op.direction() != Pooling.Direction.FORWARD;
        first = addresses[0];
        second = two ? addresses[1] : addresses[0];
        result = addresses[two ? 2 : 1];
        if (planned != null) {
            planned.execute(first, second, result, workspaceBytes() == 0 ? 0 : addresses[addresses.length - 1], ownImages);
        } else if (images * channels > 0) {
            clear(0, images);
            long perImage = (vector ? channels : 1) * (long) out[0] * out[1] * out[2] * kernel[0] * kernel[1] * kernel[2];
            WorkerPool.shared().parallelFor(vector ? images : images * channels, Math.max(1, (1 << 15) / Math.max(1, perImage)), body);
        }
    }

    /** Images {@code from} to {@code to} without oneDNN. */
    private void ownImages(long from, long to) {
        clear(from, to);
        body.run(vector ? from : from * channels, vector ? to : to * channels);
    }

    /** Before gradients of overlapping windows are added up. */
    private void clear(long from, long to) {
        if (op.direction() == Pooling.Direction.BACKWARD && !(vector && tiles)) {
            long image = channels * in[0] * in[1] * in[2] * dtype.bytes();
            Memory.fill(result + from * image, (to - from) * image, (byte) 0);
        }
    }

    /** Number of taps an average divides by: those inside x, or inside x and its padding. */
    double divisor(int z, int y, int x) {
        return (double) taps(0, z) * taps(1, y) * taps(2, x);
    }

    private int taps(int axis, int at) {
        int low = op.countPadding() ? -before[axis] : 0;
        int high = in[axis] + (op.countPadding() ? after[axis] : 0);
        int count = 0;
        for (int k = 0; k < kernel[axis]; k++) {
            int i = at * stride[axis] - before[axis] + k * dilation[axis];
            count += i >= low && i < high ? 1 : 0;
        }
        return count;
    }

    /** Planes {@code from} to {@code to} of {@code (N, C)}. */
    private void run(long from, long to) {
        long inPlane = (long) in[0] * in[1] * in[2];
        long outPlane = (long) out[0] * out[1] * out[2];
        for (long plane = from; plane < to; plane++) {
            long n = plane / channels;
            long c = plane % channels;
            long step = channelsLast ? channels : 1; // between neighbours in a plane
            long xBase = channelsLast ? n * inPlane * channels + c : plane * inPlane;
            long yBase = channelsLast ? n * outPlane * channels + c : plane * outPlane;
            for (int z = 0; z < out[0]; z++) {
                for (int y = 0; y < out[1]; y++) {
                    for (int x = 0; x < out[2]; x++) {
                        window(xBase, step, yBase + (((long) z * out[1] + y) * out[2] + x) * step, z, y, x);
                    }
                }
            }
        }
    }

    private void window(long xBase, long step, long yIndex, int z, int y, int x) {
        boolean max = op.kind() == Pooling.Kind.MAX;
        boolean backward = op.direction() == Pooling.Direction.BACKWARD;
        double scale = max ? 0 : 1 / divisor(z, y, x);
        double share = backward && !max ? get(first, yIndex) * scale : 0;
        double sum = 0;
        double best = Double.NEGATIVE_INFINITY;
        long place = -1;
        for (int i = 0; i < kernel[0]; i++) {
            int iz = z * stride[0] - before[0] + i * dilation[0];
            for (int j = 0; j < kernel[1]; j++) {
                int iy = y * stride[1] - before[1] + j * dilation[1];
                for (int k = 0; k < kernel[2]; k++) {
                    int ix = x * stride[2] - before[2] + k * dilation[2];
                    if (iz < 0 || iz >= in[0] || iy < 0 || iy >= in[1] || ix < 0 || ix >= in[2]) {
                        continue;
                    }
                    long at = xBase + (((long) iz * in[1] + iy) * in[2] + ix) * step;
                    if (!max && backward) {
                        put(result, at, get(result, at) + share);
                        continue;
                    }
                    double value = get(first, at);
                    sum += value;
                    if (place < 0 || value > best || value != value && best == best) {
                        best = value;
                        place = at;
                    }
                }
            }
        }
        if (!max) {
            if (!backward) {
                put(result, yIndex, sum * scale);
            }
        } else {
            switch (op.direction()) {
                case FORWARD -> put(result, yIndex, best);
                case BACKWARD -> {
                    if (place >= 0) { // dilated taps may all lie in the padding
                        put(result, place, get(result, place) + get(second, yIndex));
                    }
                }
                case GATHER -> put(result, yIndex, place >= 0 ? get(second, place) : 0);
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
