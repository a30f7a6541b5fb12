// Convolution and its two gradients through oneDNN.
package dev.heddle.engine.cpu;

import dev.heddle.engine.DType;
import dev.heddle.engine.op.Convolution.Direction;
import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.Locale;
import java.util.function.IntConsumer;
import java.util.stream.LongStream;

/**
 * A planned convolution. The batch is cut into a slice a thread, each run by a single-threaded primitive; weights are
 * reordered to the layout oneDNN picks, and their gradient back. That gradient is summed over the slices in their order, in
 * {@code F32}: it depends on the number of threads, not on their timing. One call runs at a time.
 */
public final class OneDnnConvolution {
    private static final int CONVOLUTION_DIRECT = 1;
    private static final int FORWARD_TRAINING = 64;
    private static final long NONE = 0;
    private static final long SUM_GRAIN = 16 << 10;

    private record Key(Direction direction, OneDnnConvolutionShape shape) {
    }

    private static final OneDnnPlans<Key, OneDnnConvolution> PLANS = new OneDnnPlans<>(OneDnnConvolution::plan);

    private final Direction direction;
    private final OneDnnPrimitive[] slices;
    private final long[] xOffsets;
    private final long[] yOffsets;
    private final OneDnnPrimitive reorder; // null where oneDNN takes or gives weights as they lie
    private final long weightBytes;
    private final long scratchBytes;

    private final IntConsumer runSlice = this::runSlice;
    private final WorkerPool.RangeBody sumSlices = this::sumSlices;
    private long first;
    private long second;
    private long bias;
    private long result;
    private long weights;
    private long workspace;

    private OneDnnConvolution(Direction direction, OneDnnConvolutionShape shape) throws UnsupportedByOneDnn {
        this.direction = direction;
        long xBytes = product(shape.xDims(1)) * shape.dtype().bytes();
        long yBytes = product(shape.yDims(1)) * shape.dtype().bytes();
        if (shape.batch() == 0 || xBytes == 0 || yBytes == 0 || product(shape.weightDims()) == 0) {
            throw new UnsupportedByOneDnn("empty");
        }
        refuseWhatOneDnnGetsWrong(shape);
        int count = (int) Math.min(WorkerPool.shared().threads(), shape.batch());
        slices = new OneDnnPrimitive[count];
        xOffsets = new long[count];
        yOffsets = new long[count];
        boolean toWeights = direction == Direction.BACKWARD_WEIGHTS;
        try (OneDnnScope scope = new OneDnnScope()) {
            long layout = scope.any(toWeights ? DType.F32 : shape.dtype(), shape.weightDims());
            long scratch = 0;
            for (int i = 0; i < count; i++) { // all slices use the layout that the first one picks
                long from = shape.batch() * i / count;
                long to = shape.batch() * (i + 1) / count;
                slices[i] = plan(scope, direction, shape, to - from, layout);
                xOffsets[i] = from * xBytes;
                yOffsets[i] = from * yBytes;
                scratch = Math.max(scratch, slices[i].scratchBytes());
                layout = slices[0].layout(toWeights ? OneDnnPrimitive.DIFF_WEIGHTS : OneDnnPrimitive.WEIGHTS);
            }
            weightBytes = align(OneDnnApi.bytes(layout));
            long plain = scope.dense(shape.dtype(), shape.weightDims());
            reorder = OneDnnApi.equal(plain, layout) ? null
                    : toWeights ? scope.reorder(layout, plain) : scope.reorder(plain, layout);
            scratchBytes = align(Math.max(scratch, reorder == null ? 0 : reorder.scratchBytes()));
        }
    }

    /**
     * oneDNN 3.11 reads outside its memory where a window lies in the padding alone (measured: it crashes), and computes
     * wrong values from one channel where a strided last axis has a single window.
     */
    private static void refuseWhatOneDnnGetsWrong(OneDnnConvolutionShape shape) throws UnsupportedByOneDnn {
        int last = shape.input().size() - 1;
        for (int i = 0; i <= last; i++) {
            long windows = shape.output().get(i);
            for (long o = 0; o < windows; o++) {
                boolean touches = false;
                for (long k = 0; k < shape.kernel().get(i); k++) {
                    long at = o * shape.window().stride().get(i) - shape.window().before().get(i) + k * shape.window().dilation().get(i);
                    touches |= at >= 0 && at < shape.input().get(i);
                }
                if (!touches) {
                    throw new UnsupportedByOneDnn("a window in the padding alone");
                }
            }
        }
        if (shape.inChannels() == 1 && shape.output().get(last) == 1 && shape.window().stride().get(last) > 1) {
            throw new UnsupportedByOneDnn("one channel, a stride and a single window along the last axis");
        }
    }

    private static OneDnnConvolution plan(Key key) throws UnsupportedByOneDnn {
        UnsupportedByOneDnn refusal = null;
        for (OneDnnConvolutionShape shape : key.shape.equivalents()) {
            try {
                return new OneDnnConvolution(key.direction, shape);
            } catch (UnsupportedByOneDnn e) {
                refusal = e;
            }
        }
        throw refusal;
    }

    /** The planned convolution, or null if oneDNN has no fast one: then {@link #unsupported} says why. */
    public static OneDnnConvolution of(Direction direction, OneDnnConvolutionShape shape) {
        return PLANS.get(new Key(direction, shape)).plan();
    }

    /** Why {@link #of} returns null, or null if it does not. */
    public static String unsupported(Direction direction, OneDnnConvolutionShape shape) {
        return PLANS.get(new Key(direction, shape)).unsupported();
    }

    private static OneDnnPrimitive plan(OneDnnScope scope, Direction direction, OneDnnConvolutionShape shape, long n,
            long w) throws UnsupportedByOneDnn {
        long engine = OneDnnApi.ENGINE;
        long x = activations(scope, shape.dtype(), shape.xDims(n), shape.xChannelsLast());
        long y = activations(scope, shape.dtype(), shape.yDims(n), shape.yChannelsLast());
        MemorySegment strides = dims(scope, shape.window().stride(), 0);
        MemorySegment dilations = dims(scope, shape.window().dilation(), -1); // oneDNN counts the gaps
        MemorySegment before = dims(scope, shape.window().before(), 0);
        MemorySegment after = dims(scope, shape.window().after(), 0);
        boolean forward = direction == Direction.FORWARD;
        long attributes = scope.attributes(forward && shape.sum(), forward && shape.relu());
        long b = forward && shape.bias() ? scope.dense(shape.dtype(), shape.outChannels()) : NONE;
        Object[] arguments = switch (direction) {
            case FORWARD -> new Object[] {engine, FORWARD_TRAINING, CONVOLUTION_DIRECT, x, w, b, y, strides, dilations,
                before, after, attributes};
            case BACKWARD_DATA -> new Object[] {engine, CONVOLUTION_DIRECT, x, w, y, strides, dilations, before, after,
                NONE, attributes};
            case BACKWARD_WEIGHTS -> new Object[] {engine, CONVOLUTION_DIRECT, x, w, b, y, strides, dilations, before,
                after, NONE, attributes};
        };
        String function = "dnnl_convolution_" + direction.name().toLowerCase(Locale.ROOT) + "_primitive_desc_create";
        return switch (direction) { // numbered as runSlice sets them
            case FORWARD -> scope.primitive(function, arguments, OneDnnPrimitive.SRC, OneDnnPrimitive.WEIGHTS,
                    OneDnnPrimitive.DST, OneDnnPrimitive.BIAS);
            case BACKWARD_DATA -> scope.primitive(function, arguments, OneDnnPrimitive.DIFF_DST, OneDnnPrimitive.WEIGHTS,
                    OneDnnPrimitive.DIFF_SRC);
            case BACKWARD_WEIGHTS -> scope.primitive(function, arguments, OneDnnPrimitive.SRC, OneDnnPrimitive.DIFF_DST,
                    OneDnnPrimitive.DIFF_WEIGHTS);
        };
    }

    private static long activations(OneDnnScope scope, DType dtype, long[] dims, boolean channelsLast) {
        return scope.strided(dtype, dims, OneDnnConvolutionShape.strides(dims, channelsLast));
    }

    private static MemorySegment dims(OneDnnScope scope, List<Integer> values, int plus) {
        return scope.dims(values.stream().mapToLong(value -> value + plus).toArray());
    }

    private static long product(long[] dims) {
        return LongStream.of(dims).reduce(1, Math::multiplyExact);
    }

    private static long align(long bytes) {
        return (bytes + 63) & -64;
    }

    /** Bytes of 64-byte aligned memory that {@link #execute} needs; what they hold means nothing before and after. */
    public long workspaceBytes() {
        return weightCopies() * weightBytes + slices.length * scratchBytes;
    }

    private int weightCopies() {
        return direction == Direction.BACKWARD_WEIGHTS ? slices.length : 1;
    }

    /**
     * Convolves. All arguments are addresses: {@code (x, w, bias, y)} for {@code FORWARD}, {@code (dy, w, 0, dx)} for
     * {@code BACKWARD_DATA}, {@code (x, dy, 0, dw)} for {@code BACKWARD_WEIGHTS}. The bias is not read if there is
     * none in the shape.
     */
    public synchronized void execute(long first, long second, long bias, long result, long workspace) {
        this.first = first;
        this.second = second;
        this.bias = bias;
        this.result = result;
        this.workspace = workspace;
        boolean toWeights = direction == Direction.BACKWARD_WEIGHTS;
        weights = reorder != null ? workspace : toWeights ? result : second;
        if (reorder != null && !toWeights) {
            reorder(second, weights);
        }
        WorkerPool.shared().parallelFor(slices.length, runSlice);
        if (toWeights && slices.length > 1) {
            WorkerPool.shared().parallelFor(weightBytes / Float.BYTES, SUM_GRAIN, sumSlices);
        }
        if (reorder != null && toWeights) {
            reorder(weights, result);
        }
    }

    private void reorder(long from, long to) {
        reorder.set(0, from);
        reorder.set(1, to);
        reorder.execute(scratch(0));
    }

    private void runSlice(int i) {
        OneDnnPrimitive slice = slices[i];
        switch (direction) {
            case FORWARD -> {
                slice.set(0, first + xOffsets[i]);
                slice.set(1, weights);
                slice.set(2, result + yOffsets[i]);
                slice.set(3, bias);
            }
            case BACKWARD_DATA -> {
                slice.set(0, first + yOffsets[i]);
                slice.set(1, weights);
                slice.set(2, result + xOffsets[i]);
            }
            case BACKWARD_WEIGHTS -> {
                slice.set(0, first + xOffsets[i]);
                slice.set(1, second + yOffsets[i]);
                slice.set(2, i == 0 ? weights : workspace + i * weightBytes);
            }
        }
        slice.execute(scratch(i));
    }

    private void sumSlices(long from, long to) {
        for (int i = 1; i < slices.length; i++) {
            ParallelSgemm.add(weights, workspace + i * weightBytes, from, to);
        }
    }

    private long scratch(int slice) {
        return workspace + weightCopies() * weightBytes + slice * scratchBytes;
    }
}
