// Softmax, the norms and their like where rows lie in one run: one generated loop for all steps.
package dev.heddle.engine.cpu;

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
    /** Elements of a call of the loop: as many as to hide the call. */
    private static final int CALL = 16 << 10;

    private final RowProgram program;
    private final long rows;
    private final int operands;
    private final long[] steps;
    private final LoopCall[] loops; // by part
    private final long[][] at;
    private long[] addresses;

    private RowKernel(RowProgram program, Call call) {
        this.program = program;
        rows = call.rows().count();
        operands = call.operands().size();
        steps = program.steps();
        int parts = rows * program.n() < PARALLEL ? 1 : (int) Math.min(rows, (long) PARTS_PER_THREAD * WorkerPool.shared().threads());
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

    @Override
    public long workspaceBytes() {
        return program.scratchBytes() * loops.length;
    }

    @Override
    public void run(long[] addresses) {
        this.addresses = addresses;
        WorkerPool.shared().parallelFor(loops.length, this);
    }

    /** Does one part of the work. */
    @Override
    public void accept(int part) {
        long end = rows * (part + 1) / loops.length;
        long[] first = at[part];
        for (long row = rows * part / loops.length; row < end;) {
            int elements = loops[part].isYoung() ? LoopCall.PIECE : CALL;
            int count = (int) Math.min(end - row, Math.max(1, elements / program.n()));
            for (int k = 0; k < operands; k++) {
                first[k] = addresses[k] + row * steps[k];
            }
            program.placeScratch(first, addresses[operands] + part * program.scratchBytes());
            loops[part].run(first, steps, count, program.n());
            row += count;
        }
    }
}
