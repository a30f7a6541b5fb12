// Softmax, the norms and their like where rows lie in one run: one generated loop for all steps.
package dev.heddle.engine.cpu;

import dev.heddle.engine.cpu.codegen.ColumnFold;
import dev.heddle.engine.cpu.codegen.LoopCall;
import dev.heddle.engine.cpu.codegen.RowProgram;
import dev.heddle.engine.plan.Call;
import dev.heddle.engine.plan.Kernel;
import java.util.function.IntConsumer;

/** Runs a {@link RowProgram} on all rows, by several threads. Which thread does which part does not matter. */
final class RowKernel implements Kernel, IntConsumer {
    private static final int PARTS_PER_THREAD = 4;
    /** Fewer elements than this are not worth a second thread. */
    private static final long PARALLEL = 16 << 10;
    /** Elements of a call of the loop: as many as to hide the call, and its first and last row, which do not overlap with others. */
    private static final int CALL = 256 << 10;

    private final RowProgram program;
    private final ColumnFold[] columns;
    private final long rows;
    private final int operands;
    private final long[] steps;
    private final LoopCall[] loops; // by part
    private final long[][] at;
    private long[] addresses;

    private RowKernel(RowProgram program, Call call) {
        this.program = program;
        columns = program.columns().toArray(ColumnFold[]::new);
        rows = call.rows().count();
        operands = call.operands().size();
        steps = program.steps();
        int parts = rows * program.n() < PARALLEL ? 1 : (int) Math.min(blocks(), (long) PARTS_PER_THREAD * WorkerPool.shared().threads());
        loops = new LoopCall[parts];
        at = new long[parts][steps.length];
        for (int part = 0; part < parts; part++) {
            loops[part] = part == 0 ? program.loop() : loops[0].copy();
        }
    }

    /** The kernel of a call that goes row by row, or null if it is not one of such loops. */
    static Kernel of(Call call) {
        RowProgram program = RowProgram.of(call);
        return program == null ? null : new RowKernel(program, call);
    }

    /** Whether a call that ends with sums over its rows is such a loop, and has rows enough for all threads. */
    static boolean foldsColumns(Call call) {
        return call.rows().count() >= (long) WorkerPool.shared().threads() * ColumnFold.BLOCK && RowProgram.of(call) != null;
    }

    /** What is not divided between parts. */
    private long blocks() {
        return columns.length == 0 ? rows : columns[0].blocks();
    }

    @Override
    public long workspaceBytes() {
        long bytes = program.scratchBytes() * loops.length;
        for (ColumnFold fold : columns) {
            bytes += fold.workspaceBytes();
        }
        return bytes;
    }

    @Override
    public void run(long[] addresses) {
        this.addresses = addresses;
        WorkerPool.shared().parallelFor(loops.length, this);
        long lanes = lanes();
        for (ColumnFold fold : columns) {
            fold.finish(lanes, addresses[fold.operand()]);
            lanes += fold.workspaceBytes();
        }
    }

    private long lanes() {
        return addresses[operands] + program.scratchBytes() * loops.length;
    }

    /** Does one part of the work. */
    @Override
    public void accept(int part) {
        program.placeScratch(at[part], addresses[operands] + part * program.scratchBytes());
        long first = blocks() * part / loops.length;
        long end = blocks() * (part + 1) / loops.length;
        if (columns.length == 0) {
            run(part, first, end);
            return;
        }
        for (long block = first; block < end; block++) {
            long lanes = lanes();
            for (ColumnFold fold : columns) {
                at[part][fold.slot()] = fold.lanes(lanes, block);
                fold.clear(at[part][fold.slot()]);
                lanes += fold.workspaceBytes();
            }
            run(part, columns[0].firstRow(block), columns[0].endRow(block));
        }
    }

    /** Runs over rows: those of a block at once, as the loop begins with the first lane of columns. */
    private void run(int part, long from, long end) {
        long[] first = at[part];
        LoopCall loop = loops[part];
        for (long row = from; row < end;) {
            int most = columns.length > 0 ? ColumnFold.BLOCK : Math.max(1, (loop.wantsPieces() ? LoopCall.PIECE : CALL) / program.n());
            int count = (int) Math.min(end - row, most);
            for (int k = 0; k < operands; k++) {
                first[k] = addresses[k] + row * steps[k];
            }
            loop.run(first, steps, count, program.n());
            row += count;
        }
    }
}
