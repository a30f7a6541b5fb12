// One reduction along one axis, by several threads.
package dev.heddle.engine.cpu.codegen;

import dev.heddle.engine.DType;
import dev.heddle.engine.Shape;
import dev.heddle.engine.cpu.WorkerPool;
import dev.heddle.engine.op.Expr;
import dev.heddle.engine.plan.Layout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.function.IntConsumer;

/**
 * Reduces an expression over neighbouring axes, taken as one, in chunks of {@link Reduction#CHUNK}: what is left of the
 * axes has as many elements as there were chunks. The work is cut into units by shape alone.
 */
final class ReducePass implements IntConsumer {
    private static final long PARALLEL = 1 << 16; // elements, weighted with Program.cost
    private static final long PART = 1 << 14;
    private static final int PARTS_PER_THREAD = 4;
    private static final int UNIT = 4096; // elements of rows that are reduced at once
    private static final int COLUMNS = 1024; // of a block: long enough runs for the prefetcher; lanes and computed rows stay in the second cache
    private static final int NARROWEST = 64;
    private static final int TILE_ROWS = 64;

    private record Axis(int index, long extent, long[] strides) {}

    private final Reduction loops;
    private final int bytes;
    private final boolean alongRows; // elements that are reduced are contiguous, otherwise the results are
    private final boolean direct; // reads the input in place, otherwise an expression is computed first
    private final long reduced;
    private final long chunks;
    private final long kept;
    private final long[] reducedStrides;
    private final long line; // extent and strides of the innermost kept axis
    private final long[] lineStrides;
    private final List<Axis> planeAxes;
    private final int block; // of the line, in a unit
    private final long blocks;
    private final int together; // chunks of a unit, where there is only one result
    private final long chunkUnits;
    private final long units;
    private final Layout output;
    private final TileLoop[] tiles;
    private final long[][] first;
    private final long[][] steps;
    private final long valuesOffset;
    private final long tileOffset;
    private final long scratchBytes;

    private long[] bases;
    private long scratch;

    /**
     * Prepares.
     *
     * @param value what is reduced, an expression over the inputs of dtype {@code F32}, {@code F64} or {@code I64}
     * @param vector whether that is for a loop of vectors
     * @param from the first of the axes to reduce
     * @param to the last of them; along them all inputs must be walked with one stride
     */
    ReducePass(Reduction loops, Expr value, boolean vector, Shape shape, List<Layout> inputs, int from, int to, int threads) {
        this.loops = loops;
        DType dtype = value.dtype();
        bytes = dtype.bytes();
        int count = inputs.size();
        long reduced = 1;
        reducedStrides = new long[count];
        List<Axis> axes = new ArrayList<>();
        for (int i = 0; i < shape.rank(); i++) {
            if (shape.dim(i) == 1) {
                continue;
            }
            long[] strides = new long[count];
            for (int k = 0; k < count; k++) {
                strides[k] = inputs.get(k).stride(i) * inputs.get(k).dtype().bytes();
            }
            if (i >= from && i <= to) {
                reduced *= shape.dim(i);
                System.arraycopy(strides, 0, reducedStrides, 0, count);
            } else {
                axes.add(new Axis(i, shape.dim(i), strides));
            }
        }
        this.reduced = reduced;
        chunks = (reduced + Reduction.CHUNK - 1) / Reduction.CHUNK;
        kept = shape.elements() / reduced;
        Axis column = axes.stream().max(Comparator.comparing((Axis axis) -> contiguous(axis.strides, inputs))
                .thenComparing(Axis::extent).thenComparing(Axis::index)).orElse(null);
        alongRows = column == null || contiguous(reducedStrides, inputs) >= contiguous(column.strides, inputs);
        if (!alongRows) {
            axes.remove(column);
            axes.add(column);
        }
        output = layout(dtype, shape, axes, from, to);
        planeAxes = merge(axes, count);
        Axis last = planeAxes.removeLast();
        line = last.extent;
        lineStrides = last.strides;
        direct = value instanceof Expr.Input && (alongRows ? reducedStrides : lineStrides)[0] == bytes;
        long planes = planeAxes.stream().mapToLong(Axis::extent).reduce(1, (a, b) -> a * b);
        long work = shape.elements() * Program.cost(List.of(value));
        long wanted = threads == 1 || work < PARALLEL ? 1 : Math.min((long) threads * PARTS_PER_THREAD, work / PART);
        block = (int) Math.min(line,
                alongRows ? Math.max(1, UNIT / Math.min(reduced, Reduction.CHUNK)) : columns(wanted, planes));
        blocks = (line + block - 1) / block;
        together = alongRows && kept == 1 ? UNIT / Reduction.CHUNK : 1;
        chunkUnits = (chunks + together - 1) / together;
        units = planes * blocks * chunkUnits;
        int parts = (int) Math.min(wanted, units);
        tiles = new TileLoop[parts];
        first = new long[parts][count + 1];
        steps = new long[parts][count + 1];
        long lanes = alongRows ? 0 : 2L * loops.lanes() * block * bytes;
        valuesOffset = lanes;
        long computed = alongRows ? Math.min(reduced, (long) Reduction.CHUNK * together) : TILE_ROWS;
        long values = direct ? 0 : computed * block * bytes;
        tileOffset = (lanes + values + 63) & -64;
        if (direct) {
            scratchBytes = tileOffset;
        } else {
            long[] strides = Arrays.copyOf(alongRows ? reducedStrides : lineStrides, count + 1);
            strides[count] = bytes;
            TileLoop tile = TileLoop.of(vector, List.of(value), inputs.stream().map(Layout::dtype).toList(), strides,
                    alongRows ? reduced : line);
            for (int i = 0; i < parts; i++) {
                tiles[i] = i == 0 ? tile : tile.copy();
            }
            scratchBytes = tileOffset + tile.scratchBytes();
        }
    }

    /** Columns of a unit: many, to read whole cache lines and pages, but not so many that there are too few units. */
    private int columns(long wanted, long planes) {
        long blocksWanted = (wanted + planes * chunks - 1) / (planes * chunks);
        return (int) Math.min(COLUMNS, Math.max(NARROWEST, (line / blocksWanted + NARROWEST - 1) / NARROWEST * NARROWEST));
    }

    private static int contiguous(long[] strides, List<Layout> inputs) {
        int count = 0;
        for (int k = 0; k < strides.length; k++) {
            count += strides[k] == inputs.get(k).dtype().bytes() ? 1 : 0;
        }
        return count;
    }

    /** Chunks outermost, then the kept axes in the order given. */
    private Layout layout(DType dtype, Shape shape, List<Axis> axes, int from, int to) {
        long[] strides = new long[shape.rank()];
        long stride = 1;
        for (Axis axis : axes.reversed()) {
            strides[axis.index] = stride;
            stride *= axis.extent;
        }
        Shape left = shape;
        for (int i = from; i <= to; i++) {
            left = left.with(i, i == from ? chunks : 1);
        }
        strides[from] = stride;
        return new Layout(dtype, left, strides, 0);
    }

    /** Joins neighbours that are one run for all inputs; there is at least one axis. */
    private static List<Axis> merge(List<Axis> axes, int inputs) {
        List<Axis> merged = new ArrayList<>();
        for (Axis axis : axes) {
            Axis outer = merged.isEmpty() ? null : merged.getLast();
            boolean joined = outer != null;
            for (int k = 0; joined && k < inputs; k++) {
                joined = outer.strides[k] == axis.strides[k] * axis.extent;
            }
            if (joined) {
                merged.removeLast();
            }
            merged.add(new Axis(axis.index, joined ? outer.extent * axis.extent : axis.extent, axis.strides));
        }
        if (merged.isEmpty()) {
            merged.add(new Axis(0, 1, new long[inputs]));
        }
        return merged;
    }

    /** How the results lie: the shape with the first of the reduced axes as long as there are chunks, the others 1. */
    Layout output() {
        return output;
    }

    /** Scratch memory of all parts. */
    long scratchBytes() {
        return scratchBytes * first.length;
    }

    /**
     * Does the work.
     *
     * @param bases address of the first element of each input, then of the results
     * @param scratch address of the scratch memory
     */
    void run(long[] bases, long scratch) {
        this.bases = bases;
        this.scratch = scratch;
        if (first.length == 1) {
            accept(0);
        } else {
            WorkerPool.shared().parallelFor(first.length, this);
        }
    }

    /** Does one part of the work. */
    @Override
    public void accept(int part) {
        long end = units * (part + 1) / first.length;
        for (long unit = units * part / first.length; unit < end; unit++) {
            long start = unit / chunkUnits % blocks * block;
            unit(part, unit / chunkUnits / blocks, start, (int) Math.min(block, line - start), unit % chunkUnits * together);
        }
    }

    private void unit(int part, long plane, long start, int count, long chunk) {
        int inputs = reducedStrides.length;
        long[] at = first[part];
        for (int k = 0; k < inputs; k++) {
            at[k] = bases[k] + planeOffset(k, plane) + start * lineStrides[k] + chunk * Reduction.CHUNK * reducedStrides[k];
        }
        int n = (int) Math.min(together * Reduction.CHUNK, reduced - chunk * Reduction.CHUNK);
        long to = bases[inputs] + (chunk * kept + plane * line + start) * bytes;
        long lanes = scratch + part * scratchBytes;
        if (!alongRows) {
            reduceColumns(part, at, count, n, to, lanes);
            return;
        }
        long from = at[0];
        long rowStep = lineStrides.length == 0 ? 0 : lineStrides[0];
        if (!direct) {
            from = lanes + valuesOffset;
            rowStep = (long) n * bytes;
            compute(part, at, lineStrides, from, count, n, lanes + tileOffset);
        }
        if (n <= Reduction.CHUNK) {
            loops.rows(from, rowStep, count, n, to);
        } else { // one result, several chunks: its chunks are the rows
            int whole = n / Reduction.CHUNK;
            long chunkBytes = (long) Reduction.CHUNK * bytes;
            loops.rows(from, chunkBytes, whole, Reduction.CHUNK, to);
            if (n % Reduction.CHUNK != 0) {
                loops.rows(from + whole * chunkBytes, 0, 1, n % Reduction.CHUNK, to + (long) whole * bytes);
            }
        }
    }

    private long planeOffset(int operand, long plane) {
        long offset = 0;
        for (int i = planeAxes.size() - 1; i >= 0; i--) {
            Axis axis = planeAxes.get(i);
            offset += plane % axis.extent * axis.strides[operand];
            plane /= axis.extent;
        }
        return offset;
    }

    private void reduceColumns(int part, long[] at, int count, int n, long to, long lanes) {
        if (direct) {
            loops.accumulate(at[0], reducedStrides[0], 0, n, count, lanes);
        } else {
            long values = lanes + valuesOffset;
            for (int row = 0; row < n; row += TILE_ROWS) {
                int rows = Math.min(TILE_ROWS, n - row);
                compute(part, at, reducedStrides, values, rows, count, lanes + tileOffset);
                loops.accumulate(values, (long) count * bytes, row, rows, count, lanes);
                for (int k = 0; k < reducedStrides.length; k++) {
                    at[k] += rows * reducedStrides[k];
                }
            }
        }
        loops.fold(lanes, n, count, to);
    }

    /** The expression for {@code rows} rows of {@code n} elements, in memory without gaps. */
    private void compute(int part, long[] at, long[] rowStrides, long values, int rows, int n, long tileScratch) {
        long[] step = steps[part];
        System.arraycopy(rowStrides, 0, step, 0, rowStrides.length);
        step[rowStrides.length] = (long) n * bytes;
        at[rowStrides.length] = values;
        tiles[part].run(at, step, rows, n, tileScratch);
    }
}
