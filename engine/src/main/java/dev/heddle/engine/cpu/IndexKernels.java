// Reading and adding by index.
package dev.heddle.engine.cpu;

import dev.heddle.engine.DType;
import dev.heddle.engine.memory.Float16;
import dev.heddle.engine.memory.Memory;
import dev.heddle.engine.op.Gather;
import dev.heddle.engine.op.Op;
import dev.heddle.engine.op.Scatter;
import dev.heddle.engine.plan.Kernel;
import dev.heddle.engine.plan.Layout;
import java.lang.foreign.MemorySegment;

/**
 * Gather, and scatter-add to what the result holds, over contiguous operands, seen as {@code x (outer, extent, inner)}. Whole slices are read or added
 * at {@code index (count)}, single elements at {@code index (outer, count, inner)}. Indices are checked before anything is
 * written or added. Additions to one place are made by one thread, in the order of the source.
 */
final class IndexKernels implements Kernel {
    private static final long GRAIN_BYTES = 1 << 16;

    private final String name;
    private final DType dtype;
    private final boolean wideIndex;
    private final boolean slices;
    private final boolean scatter;
    private final long outer;
    private final long extent;
    private final long inner;
    private final long count; // of places along the axis
    private final long indices;
    private final long outputBytes;
    private final WorkerPool.RangeBody body;
    private long x;
    private long index;
    private long source;
    private long output;

    private IndexKernels(Op op, int axis, boolean slices, boolean scatter, Layout x, Layout index, Layout output) {
        name = op.name();
        dtype = x.dtype();
        wideIndex = index.dtype() == DType.I64;
        this.slices = slices;
        this.scatter = scatter;
        long before = 1;
        long after = 1;
        for (int i = 0; i < x.shape().rank(); i++) {
            before *= i < axis ? (slices ? x : index).shape().dim(i) : 1;
            after *= i > axis ? (slices ? x : index).shape().dim(i) : 1;
        }
        outer = before;
        inner = after;
        extent = x.shape().dim(axis);
        count = slices ? index.shape().elements() : index.shape().dim(axis);
        indices = index.shape().elements();
        outputBytes = output.spec().bytes();
        body = scatter ? slices ? this::addSlices : this::addElements : slices ? this::readSlices : this::readElements;
    }

    static IndexKernels gather(Gather op, Layout x, Layout index, Layout output) {
        return new IndexKernels(op, op.axis(), op instanceof Gather.Slices, false, x, index, output);
    }

    static IndexKernels scatter(Scatter op, Layout x, Layout index, Layout output) {
        return new IndexKernels(op, op.axis(), op instanceof Scatter.AddSlices, true, x, index, output);
    }

    @Override
    public void run(long[] addresses) {
        x = addresses[0];
        index = addresses[1];
        source = scatter ? addresses[2] : 0;
        output = addresses[scatter ? 3 : 2];
        for (long i = 0; i < indices; i++) {
            if (place(i) < 0 || place(i) >= extent) {
                throw new IndexOutOfBoundsException(name + ": index " + place(i) + " at element " + i + " for an axis of " + extent);
            }
        }
        if (outputBytes == 0) {
            return;
        }
        if (!scatter && slices) {
            long bytes = Math.max(1, inner * dtype.bytes());
            WorkerPool.shared().parallelFor(outer * count, Math.max(1, GRAIN_BYTES / bytes), body);
        } else { // a thread owns whole lanes of places
            WorkerPool.shared().parallelFor(outer * inner, Math.max(1, GRAIN_BYTES / Math.max(1, 8 * count)), body);
        }
    }

    private long place(long i) {
        return wideIndex ? Memory.getLong(index + 8 * i) : Memory.getInt(index + 4 * i);
    }

    private void readSlices(long from, long to) {
        long bytes = inner * dtype.bytes();
        for (long i = from; i < to; i++) {
            long row = i / count * extent + place(i % count);
            MemorySegment.copy(Memory.ALL, x + row * bytes, Memory.ALL, output + i * bytes, bytes);
        }
    }

    private void readElements(long from, long to) {
        int size = dtype.bytes();
        for (long lane = from; lane < to; lane++) {
            long o = lane / inner;
            long n = lane % inner;
            for (long c = 0; c < count; c++) {
                long i = (o * count + c) * inner + n;
                long at = (o * extent + place(i)) * inner + n;
                switch (size) {
                    case 8 -> Memory.putLong(output + 8 * i, Memory.getLong(x + 8 * at));
                    case 4 -> Memory.putInt(output + 4 * i, Memory.getInt(x + 4 * at));
                    case 2 -> Memory.putShort(output + 2 * i, Memory.getShort(x + 2 * at));
                    default -> Memory.putByte(output + i, Memory.getByte(x + at));
                }
            }
        }
    }

    /** Lanes {@code from} to {@code to} of {@code (outer, inner)}; runs of one outer index together, for locality. */
    private void addSlices(long from, long to) {
        for (long lane = from; lane < to;) {
            long o = lane / inner;
            long first = lane % inner;
            long end = Math.min(inner, first + to - lane);
            for (long c = 0; c < count; c++) {
                long target = (o * extent + place(c)) * inner;
                long from2 = (o * count + c) * inner;
                if (dtype == DType.F32) {
                    ParallelSgemm.add(output + 4 * (target + first), source + 4 * (from2 + first), 0, end - first);
                    continue;
                }
                for (long n = first; n < end; n++) {
                    add(target + n, from2 + n);
                }
            }
            lane += end - first;
        }
    }

    private void addElements(long from, long to) {
        for (long lane = from; lane < to; lane++) {
            long o = lane / inner;
            long n = lane % inner;
            for (long c = 0; c < count; c++) {
                long i = (o * count + c) * inner + n;
                add((o * extent + place(i)) * inner + n, i);
            }
        }
    }

    private void add(long target, long from) {
        switch (dtype) {
            case F32 -> Memory.putFloat(output + 4 * target, Memory.getFloat(output + 4 * target) + Memory.getFloat(source + 4 * from));
            case F64 -> Memory.putDouble(output + 8 * target, Memory.getDouble(output + 8 * target) + Memory.getDouble(source + 8 * from));
            case I64 -> Memory.putLong(output + 8 * target, Memory.getLong(output + 8 * target) + Memory.getLong(source + 8 * from));
            case I32 -> Memory.putInt(output + 4 * target, Memory.getInt(output + 4 * target) + Memory.getInt(source + 4 * from));
            case U8 -> Memory.putByte(output + target, (byte) (Memory.getByte(output + target) + Memory.getByte(source + from)));
            case BOOL -> Memory.putByte(output + target, (byte) (Memory.getByte(output + target) | Memory.getByte(source + from)));
            case BF16 -> Memory.putShort(output + 2 * target, Float16.toBfloat16(Float16.bfloat16(Memory.getShort(output + 2 * target))
                    + Float16.bfloat16(Memory.getShort(source + 2 * from))));
            case F16 -> Memory.putShort(output + 2 * target, Float.floatToFloat16(Float.float16ToFloat(Memory.getShort(output + 2 * target))
                    + Float.float16ToFloat(Memory.getShort(source + 2 * from))));
        }
    }
}
