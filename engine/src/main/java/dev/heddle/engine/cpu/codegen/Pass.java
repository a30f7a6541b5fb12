// One walk of several threads over the elements of a shape, computing expressions or just copying.
package dev.heddle.engine.cpu.codegen;

import dev.heddle.engine.DType;
import dev.heddle.engine.Shape;
import dev.heddle.engine.cpu.WorkerPool;
import dev.heddle.engine.op.Expr;
import dev.heddle.engine.plan.Layout;
import java.util.List;
import java.util.function.IntConsumer;
import java.util.stream.Stream;

/** A loop nest around a {@link TileLoop}, split into parts that may run at the same time. */
final class Pass implements IntConsumer {
    /** Work worth a second thread, and work of a part at least, in units of {@link Program#cost}. */
    private static final long PARALLEL = 1 << 16;
    private static final long PART = 1 << 14;
    private static final int PARTS_PER_THREAD = 4;
    private static final int ALIGNMENT = 64; // elements: parts of a row begin at cache lines
    private static final long LONGEST = 1 << 30; // elements a loop is given at once

    private enum Split { PLANES, ROWS, INNER }

    private final Nest nest;
    private final long[] rowStrides;
    private final long[] innerStrides;
    private final int copiedBytes; // of an element, if all there is to do is copy; otherwise 0
    private final TileLoop[] loops;
    private final long[][] at;
    private final Split split;
    private final long scratchBytes; // of a part

    private long[] bases;
    private long scratch;

    /**
     * Prepares.
     *
     * @param vector whether the expressions are for a loop of vectors
     * @param outputs expressions over the inputs
     * @param inputs layouts of the inputs, expanded to the shape
     * @param threads how many threads to split for
     */
    Pass(boolean vector, List<Expr> outputs, Shape shape, List<Layout> inputs, List<Layout> outputLayouts, int threads) {
        List<Layout> operands = Stream.concat(inputs.stream(), outputLayouts.stream()).toList();
        nest = Nest.of(shape, operands, inputs.size());
        int count = operands.size();
        rowStrides = new long[count];
        innerStrides = new long[count];
        for (int k = 0; k < count; k++) {
            rowStrides[k] = nest.rowStride(k);
            innerStrides[k] = nest.innerStride(k);
        }
        long work = shape.elements() * Program.cost(outputs);
        int parts = threads == 1 || work < PARALLEL ? 1 : (int) Math.min((long) threads * PARTS_PER_THREAD, work / PART);
        split = nest.planes() >= parts ? Split.PLANES
                : nest.rows() >= parts || nest.rows() > nest.inner() ? Split.ROWS : Split.INNER;
        at = new long[parts][count];
        loops = new TileLoop[parts];
        if (outputs.size() == 1 && outputs.getFirst() instanceof Expr.Input(int index, DType dtype) && index == 0 && count == 2) {
            copiedBytes = dtype.bytes();
            scratchBytes = 0;
        } else {
            copiedBytes = 0;
            TileLoop loop = TileLoop.of(vector, outputs, inputs.stream().map(Layout::dtype).toList(), innerStrides, nest.inner());
            for (int i = 0; i < parts; i++) {
                loops[i] = i == 0 ? loop : loop.copy();
            }
            scratchBytes = loop.scratchBytes();
        }
    }

    /** Scratch memory of all parts. */
    long scratchBytes() {
        return scratchBytes * loops.length;
    }

    /**
     * Does the work.
     *
     * @param bases address of the first element of each input, then of each output
     * @param scratch address of the scratch memory
     */
    void run(long[] bases, long scratch) {
        this.bases = bases;
        this.scratch = scratch;
        if (loops.length == 1) {
            accept(0);
        } else {
            WorkerPool.shared().parallelFor(loops.length, this);
        }
    }

    /** Does one part of the work. */
    @Override
    public void accept(int part) {
        long planes = nest.planes();
        long rows = nest.rows();
        long inner = nest.inner();
        switch (split) {
            case PLANES -> walk(part, bound(planes, part, 1), bound(planes, part + 1, 1), 0, rows, 0, inner);
            case ROWS -> walk(part, 0, planes, bound(rows, part, 1), bound(rows, part + 1, 1), 0, inner);
            case INNER -> walk(part, 0, planes, 0, rows, bound(inner, part, ALIGNMENT), bound(inner, part + 1, ALIGNMENT));
        }
    }

    /** Where a part begins, at a multiple of {@code unit}. */
    private long bound(long extent, int part, int unit) {
        long units = (extent + unit - 1) / unit;
        return Math.min(extent, units * part / loops.length * unit);
    }

    private void walk(int part, long firstPlane, long planes, long firstRow, long rows, long firstElement, long elements) {
        for (long plane = firstPlane; plane < planes; plane++) {
            for (long row = firstRow; row < rows; row += LONGEST) {
                for (long i = firstElement; i < elements; i += LONGEST) {
                    block(part, plane, row, i, (int) Math.min(LONGEST, rows - row), (int) Math.min(LONGEST, elements - i));
                }
            }
        }
    }

    private void block(int part, long plane, long row, long element, int rows, int n) {
        long[] first = at[part];
        for (int k = 0; k < first.length; k++) {
            first[k] = bases[k] + nest.planeOffset(k, plane) + row * rowStrides[k] + element * innerStrides[k];
        }
        if (copiedBytes == 0) {
            loops[part].run(first, rowStrides, rows, n, scratch + part * scratchBytes);
        } else {
            Strided.copy(first[0], rowStrides[0], innerStrides[0], first[1], rowStrides[1], innerStrides[1],
                    rows, n, copiedBytes);
        }
    }
}
