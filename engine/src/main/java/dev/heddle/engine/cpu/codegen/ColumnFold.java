// Sums over rows of what is computed row by row: each block of rows into lanes of its own, these in a fixed order at the end.
package dev.heddle.engine.cpu.codegen;

import dev.heddle.engine.DType;
import dev.heddle.engine.Shape;
import dev.heddle.engine.cpu.WorkerPool;
import dev.heddle.engine.memory.Memory;
import dev.heddle.engine.op.Expr;
import dev.heddle.engine.op.Reduce;
import dev.heddle.engine.plan.Layout;
import java.util.List;
import java.util.function.IntConsumer;

/**
 * A sum, mean, product, maximum or minimum of each column. Rows may come in planes, each of which is folded by itself, then their results.
 * Row {@code r} of a plane belongs to lane {@code r % LANES} of block {@code r / BLOCK}: the order that {@link Reduction} gives, so that
 * bits do not depend on how the work is split.
 */
public final class ColumnFold implements IntConsumer {
    /** Rows that follow each other into lanes of their own. */
    public static final int LANES = FloatReduction.LANES;
    /** Rows that are folded into the same lanes. */
    public static final int BLOCK = Reduction.BLOCK;

    private static final int CHUNK_BLOCKS = Reduction.CHUNK / Reduction.BLOCK;

    private final int slot;
    private final int operand;
    private final Reduce.Kind kind;
    private final Reduction loops;
    private final long planes;
    private final long planeRows;
    private final int n;
    private final ElementwiseKernel last; // null if the result is what was folded
    private final long[] addresses = new long[2];
    private long workspace;

    /**
     * A fold.
     *
     * @param slot where the loop that computes the rows has the address of the lanes
     * @param operand where the result goes
     * @param dtype of the result
     * @param rows in all planes
     */
    ColumnFold(Reduce.Kind kind, int slot, int operand, DType dtype, long rows, long planeRows, int n) {
        this.kind = kind == Reduce.Kind.MEAN ? Reduce.Kind.SUM : kind;
        this.slot = slot;
        this.operand = operand;
        this.planeRows = planeRows;
        planes = rows / planeRows;
        this.n = n;
        loops = Reduction.of(this.kind, DType.F32);
        Expr result = Reduction.result(kind, new Expr.Input(0, DType.F32), rows, dtype);
        Shape shape = Shape.of(n);
        Layout folded = new Layout(DType.F32, shape, shape.strides(), 0);
        Layout stored = new Layout(dtype, shape, shape.strides(), 0);
        last = kind != Reduce.Kind.MEAN && dtype == DType.F32 ? null
                : ElementwiseKernel.of(List.of(result), shape, List.of(folded), List.of(stored), 1);
    }

    /** Where the loop has the address of the lanes. */
    public int slot() {
        return slot;
    }

    /** Which operand of the call is the result. */
    public int operand() {
        return operand;
    }

    /** Rows of a plane. */
    long planeRows() {
        return planeRows;
    }

    /** Number of blocks in all planes. */
    public long blocks() {
        return planes * planeBlocks();
    }

    /** The first row of a block, or after the last block, the number of rows. */
    public long firstRow(long block) {
        return block / planeBlocks() * planeRows + block % planeBlocks() * BLOCK;
    }

    /** The row behind the last row of a block. */
    public long endRow(long block) {
        return Math.min(firstRow(block) + BLOCK, (block / planeBlocks() + 1) * planeRows);
    }

    private long planeBlocks() {
        return (planeRows + BLOCK - 1) / BLOCK;
    }

    private int planeChunks() {
        return (int) ((planeRows + Reduction.CHUNK - 1) / Reduction.CHUNK);
    }

    private int chunks() {
        return (int) planes * planeChunks();
    }

    private long laneBytes() {
        return (long) LANES * n * DType.F32.bytes();
    }

    private long rowBytes() {
        return (long) n * DType.F32.bytes();
    }

    /** Bytes of memory for the lanes of all blocks, then twice as many for each chunk, then for the results of chunks, of planes and of all. */
    public long workspaceBytes() {
        return (blocks() + 2L * chunks()) * laneBytes() + (chunks() + planes + 1) * rowBytes() + 63 & -64;
    }

    /** The lanes of a block. */
    public long lanes(long workspace, long block) {
        return workspace + block * laneBytes();
    }

    /** Makes the lanes of a block those of no rows. */
    public void clear(long lanes) {
        if (kind == Reduce.Kind.SUM) {
            Memory.fill(lanes, laneBytes(), (byte) 0);
            return;
        }
        float identity = Reduction.identity(kind);
        for (long i = 0; i < laneBytes(); i += DType.F32.bytes()) {
            Memory.putFloat(lanes + i, identity);
        }
    }

    /** Folds the lanes of all blocks into the result. */
    public void finish(long workspace, long result) {
        this.workspace = workspace;
        WorkerPool.shared().parallelFor(chunks(), this);
        long chunkResults = lanes(workspace, blocks() + 2L * chunks());
        long planeResults = chunkResults + chunks() * rowBytes();
        long folded = last == null ? result : planeResults + planes * rowBytes();
        if (planes == 1) {
            fold(chunkResults, chunks(), folded);
        } else {
            for (int plane = 0; plane < planes; plane++) {
                fold(chunkResults + (long) plane * planeChunks() * rowBytes(), planeChunks(), planeResults + plane * rowBytes());
            }
            fold(planeResults, (int) planes, folded);
        }
        if (last != null) {
            addresses[0] = folded;
            addresses[1] = result;
            last.run(addresses);
        }
    }

    /** Folds rows that lie one behind the other to one. */
    private void fold(long from, int rows, long to) {
        if (rows == 1) {
            Memory.copy(from, to, rowBytes());
        } else {
            loops.accumulate(from, rowBytes(), 0, rows, n, chunkLanes(0));
            loops.fold(chunkLanes(0), rows, n, to);
        }
    }

    /** Folds the lanes of a chunk's blocks. */
    @Override
    public void accept(int chunk) {
        long block = (long) (chunk % planeChunks()) * CHUNK_BLOCKS; // within the plane
        int laneRows = (int) Math.min(CHUNK_BLOCKS, planeBlocks() - block) * LANES;
        loops.accumulate(lanes(workspace, chunk / planeChunks() * planeBlocks() + block), rowBytes(), 0, laneRows, n, chunkLanes(chunk));
        loops.fold(chunkLanes(chunk), laneRows, n, lanes(workspace, blocks() + 2L * chunks()) + chunk * rowBytes());
    }

    private long chunkLanes(int chunk) {
        return lanes(workspace, blocks() + 2L * chunk);
    }
}
