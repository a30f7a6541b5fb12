// The place of the largest or smallest element along an axis.
package dev.heddle.engine.cpu.codegen;

import dev.heddle.engine.DType;
import dev.heddle.engine.Shape;
import dev.heddle.engine.cpu.WorkerPool;
import dev.heddle.engine.memory.Memory;
import dev.heddle.engine.plan.Layout;
import java.util.List;
import java.util.function.IntConsumer;

/** Scans runs of contiguous elements, several threads at a time. The first place among equals wins; a NaN is the extreme. */
final class ArgPass implements IntConsumer {
    private static final long PARALLEL = 1 << 16;
    private static final int PARTS_PER_THREAD = 4;

    private final boolean max;
    private final DType dtype;
    private final long n;
    private final Nest nest;
    private final long lines;
    private final int parts;

    private long input;
    private long output;

    /**
     * Prepares.
     *
     * @param values the layout of {@code F32}, {@code F64} or {@code I64} elements, contiguous along {@code axis}
     * @param output the layout of the {@code I64} results: the same shape with extent 1 along {@code axis}
     */
    ArgPass(boolean max, Layout values, int axis, Layout output, int threads) {
        this.max = max;
        dtype = values.dtype();
        n = values.shape().dim(axis);
        Shape shape = output.shape();
        nest = Nest.of(shape, List.of(new Layout(dtype, shape, values.strides(), 0), output), 1);
        lines = shape.elements();
        parts = threads == 1 || lines * n < PARALLEL ? 1 : (int) Math.min((long) threads * PARTS_PER_THREAD, lines);
    }

    /** Does the work, between the addresses of the first elements. */
    void run(long input, long output) {
        this.input = input;
        this.output = output;
        if (parts == 1) {
            accept(0);
        } else {
            WorkerPool.shared().parallelFor(parts, this);
        }
    }

    /** Does one part of the work. */
    @Override
    public void accept(int part) {
        long inner = nest.inner();
        long rows = nest.rows();
        long end = lines * (part + 1) / parts;
        for (long line = lines * part / parts; line < end; line++) {
            long i = line % inner;
            long row = line / inner % rows;
            long plane = line / inner / rows;
            long from = input + nest.planeOffset(0, plane) + row * nest.rowStride(0) + i * nest.innerStride(0);
            long to = output + nest.planeOffset(1, plane) + row * nest.rowStride(1) + i * nest.innerStride(1);
            Memory.putLong(to, switch (dtype) {
                case F32 -> placeF32(from);
                case F64 -> placeF64(from);
                default -> placeI64(from);
            });
        }
    }

    private long placeF32(long from) {
        long place = 0;
        float best = Memory.getFloat(from);
        for (long i = 0; i < n; i++) {
            float x = Memory.getFloat(from + 4 * i);
            if (x != x) {
                return i;
            }
            if (max ? x > best : x < best) {
                best = x;
                place = i;
            }
        }
        return place;
    }

    private long placeF64(long from) {
        long place = 0;
        double best = Memory.getDouble(from);
        for (long i = 0; i < n; i++) {
            double x = Memory.getDouble(from + 8 * i);
            if (x != x) {
                return i;
            }
            if (max ? x > best : x < best) {
                best = x;
                place = i;
            }
        }
        return place;
    }

    private long placeI64(long from) {
        long place = 0;
        long best = Memory.getLong(from);
        for (long i = 0; i < n; i++) {
            long x = Memory.getLong(from + 8 * i);
            if (max ? x > best : x < best) {
                best = x;
                place = i;
            }
        }
        return place;
    }
}
