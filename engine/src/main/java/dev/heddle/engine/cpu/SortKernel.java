// Sorting and top-k along an axis.
package dev.heddle.engine.cpu;

import dev.heddle.engine.DType;
import dev.heddle.engine.memory.Float16;
import dev.heddle.engine.memory.Memory;
import dev.heddle.engine.op.Sort;
import dev.heddle.engine.plan.Kernel;
import dev.heddle.engine.plan.Layout;

/**
 * Stable sort of contiguous lanes. Each element becomes a long whose order is the wanted one (floats by their ordered bits,
 * with NaN above everything), so that one merge sort serves all dtypes; {@code k} much smaller than the extent is selected by
 * a sorted insertion buffer instead.
 */
final class SortKernel implements Kernel {
    private static final int INSERTION_LIMIT = 32;

    private final Sort op;
    private final DType dtype;
    private final int extent;
    private final long inner;
    private final long lanes;
    private final long laneBytes; // of one thread's scratch: keys and places, twice
    private final WorkerPool.RangeBody body = this::run;
    private final int tasks;
    private long input;
    private long values;
    private long places;
    private long scratch;

    private SortKernel(Sort op, Layout x) {
        this.op = op;
        dtype = x.dtype();
        extent = Math.toIntExact(x.shape().dim(op.axis()));
        long after = 1;
        for (int i = op.axis() + 1; i < x.shape().rank(); i++) {
            after *= x.shape().dim(i);
        }
        inner = after;
        lanes = extent == 0 ? 0 : x.shape().elements() / extent;
        laneBytes = (4L * 8 * extent + 63) & -64;
        tasks = (int) Math.min(lanes, WorkerPool.shared().threads() * 4L);
    }

    static SortKernel of(Sort op, Layout x) {
        return new SortKernel(op, x);
    }

    @Override
    public long workspaceBytes() {
        return tasks * laneBytes;
    }

    @Override
    public void run(long[] addresses) {
        if (lanes == 0 || op.k() == 0) {
            return;
        }
        input = addresses[0];
        values = addresses[1];
        places = addresses[2];
        scratch = addresses[3];
        WorkerPool.shared().parallelFor(tasks, Math.max(1, 4096L * tasks / (lanes * extent)), body);
    }

    private void run(long from, long to) {
        for (long task = from; task < to; task++) {
            for (long lane = lanes * task / tasks; lane < lanes * (task + 1) / tasks; lane++) {
                sort(lane, scratch + task * laneBytes);
            }
        }
    }

    private void sort(long lane, long keys) {
        long order = keys + 8L * extent;
        long base = lane / inner * extent * inner + lane % inner;
        int k = (int) op.k();
        if (k < extent && k <= INSERTION_LIMIT) {
            select(base, k, keys, order);
        } else {
            for (int i = 0; i < extent; i++) {
                Memory.putLong(keys + 8L * i, key(base + i * inner));
                Memory.putLong(order + 8L * i, i);
            }
            mergeSort(keys, order, order + 8L * extent, order + 16L * extent);
        }
        long target = lane / inner * k * inner + lane % inner;
        int size = dtype.bytes();
        for (int i = 0; i < k; i++) {
            long place = Memory.getLong(order + 8L * i);
            long from = input + (base + place * inner) * size;
            long into = values + (target + i * inner) * size;
            switch (size) {
                case 8 -> Memory.putLong(into, Memory.getLong(from));
                case 4 -> Memory.putInt(into, Memory.getInt(from));
                case 2 -> Memory.putShort(into, Memory.getShort(from));
                default -> Memory.putByte(into, Memory.getByte(from));
            }
            Memory.putLong(places + 8 * (target + i * inner), place);
        }
    }

    private void select(long base, int k, long keys, long order) {
        int count = 0;
        for (int i = 0; i < extent; i++) {
            long key = key(base + i * inner);
            if (count == k && key >= Memory.getLong(keys + 8L * (k - 1))) {
                continue;
            }
            int at = count < k ? count++ : k - 1;
            while (at > 0 && Memory.getLong(keys + 8L * (at - 1)) > key) {
                Memory.putLong(keys + 8L * at, Memory.getLong(keys + 8L * (at - 1)));
                Memory.putLong(order + 8L * at, Memory.getLong(order + 8L * (at - 1)));
                at--;
            }
            Memory.putLong(keys + 8L * at, key);
            Memory.putLong(order + 8L * at, i);
        }
    }

    /** Bottom-up; the result ends in {@code keys} and {@code order}. */
    private void mergeSort(long keys, long order, long spareKeys, long spareOrder) {
        for (int width = 1; width < extent; width *= 2) {
            for (int start = 0; start < extent; start += 2 * width) {
                int left = start;
                int middle = Math.min(start + width, extent);
                int right = middle;
                int end = Math.min(start + 2 * width, extent);
                for (int i = start; i < end; i++) {
                    boolean takeLeft = right >= end
                            || left < middle && Memory.getLong(keys + 8L * left) <= Memory.getLong(keys + 8L * right);
                    int from = takeLeft ? left++ : right++;
                    Memory.putLong(spareKeys + 8L * i, Memory.getLong(keys + 8L * from));
                    Memory.putLong(spareOrder + 8L * i, Memory.getLong(order + 8L * from));
                }
            }
            java.lang.foreign.MemorySegment.copy(Memory.ALL, spareKeys, Memory.ALL, keys, 8L * extent);
            java.lang.foreign.MemorySegment.copy(Memory.ALL, spareOrder, Memory.ALL, order, 8L * extent);
        }
    }

    /** A long that orders as wanted: ascending keys are the result's order. */
    private long key(long i) {
        long key = switch (dtype) {
            case F64 -> ordered(Memory.getDouble(input + 8 * i));
            case F32 -> ordered(Memory.getFloat(input + 4 * i));
            case BF16 -> ordered(Float16.bfloat16(Memory.getShort(input + 2 * i)));
            case F16 -> ordered(Float.float16ToFloat(Memory.getShort(input + 2 * i)));
            case I64 -> Memory.getLong(input + 8 * i);
            case I32 -> Memory.getInt(input + 4 * i);
            case U8, BOOL -> Memory.getByte(input + i) & 0xff;
        };
        return op.descending() ? ~key : key;
    }

    /** Equal numbers (0 and -0 among them) get equal keys. */
    private static long ordered(double value) {
        if (value != value) {
            return Long.MAX_VALUE;
        }
        long bits = Double.doubleToRawLongBits(value + 0.0);
        return bits < 0 ? bits ^ Long.MAX_VALUE : bits;
    }
}
