// Recurrent networks over whole sequences: at each step one product, and one generated loop over the gates.
package dev.heddle.engine.cpu;

import dev.heddle.engine.DType;
import dev.heddle.engine.Shape;
import dev.heddle.engine.cpu.codegen.ElementwiseKernel;
import dev.heddle.engine.fused.RecurrentCell;
import dev.heddle.engine.fused.RecurrentScan;
import dev.heddle.engine.memory.Memory;
import dev.heddle.engine.op.Expr;
import dev.heddle.engine.op.Fused;
import dev.heddle.engine.op.Spec;
import dev.heddle.engine.plan.Kernel;
import dev.heddle.engine.plan.Layout;
import java.util.ArrayList;
import java.util.List;
import java.util.function.IntConsumer;

/**
 * A {@link RecurrentScan} of F32, or its gradient. Sequences do not know of each other, so where there are enough of them each
 * thread takes its own through all steps, without waiting for the others in between; otherwise threads share the work of a step.
 *
 * <p>oneDNN has recurrent primitives of its own. On one Zen 4 core, for 16 sequences of 64 steps, 256 features in and out, its LSTM took
 * 10.5 ms forward and 20.9 ms backward; this kernel and the large products around it took 10.6 and 20.6 ms. Both are products at 9/10
 * of what the core can do. So the products stay ours, which take weights as they lie, and serve every cell, lengths and both directions.
 */
final class RecurrentKernel implements Kernel, IntConsumer {
    private static final int FEWEST_SEQUENCES = 8; // of a thread: for fewer, reading the weights costs more than the work
    private static final long FLOAT = Float.BYTES;

    private final boolean reverse;
    private final boolean backward;
    private final long batch;
    private final int steps;
    private final long hidden;
    private final long gates; // columns of a weight
    private final int inputs;
    private final int states;
    private final int carried; // place of the first of the gradients that go from step to step
    private final int lengths; // place of their address, -1 if there are none
    private final int workspace; // likewise
    private final Kernel transpose; // of U, which a product wants row-major; null for the gradient, which takes it as it is
    private final long[] transposeArguments;
    private final long activeOffset; // in the workspace: a byte for each sequence, whether it still goes on
    private final long loopOffset; // in the workspace: scratch memory of each part's loops
    private final long loopBytes;
    private final Loop[] first; // by part: at the step that reads the states given at first
    private final Loop[] others; // at all other steps
    private long[] addresses;

    /** Rows of an operand, one a sequence: where they are, all distances in bytes. */
    private record Rows(int address, long distance, long step, long offset, boolean before) {
        /** A state as it is given: the same at all steps. */
        static Rows fixed(int address, long columns) {
            return new Rows(address, columns * FLOAT, 0, 0, false);
        }

        /** Columns of {@code (B, T, width)} at the current step, or at the one before. */
        static Rows of(int address, long steps, long width, long column, boolean before) {
            return new Rows(address, steps * width * FLOAT, width * FLOAT, column * FLOAT, before);
        }

        long at(long[] addresses, long row, int now, int earlier) {
            return addresses[address] + row * distance + (before ? earlier : now) * step + offset;
        }

        long ld() {
            return distance / FLOAT;
        }
    }

    /** The elementwise part of a step for some sequences, and the product before it or behind it. */
    private record Loop(long from, long count, List<Rows> operands, Kernel kernel, long[] arguments, Rows a, Rows c) {}

    private RecurrentKernel(RecurrentCell cell, boolean reverse, boolean backward, List<Layout> in, int lengths, int outputs) {
        this.reverse = reverse;
        this.backward = backward;
        this.lengths = lengths;
        inputs = in.size();
        states = cell.states();
        carried = inputs + outputs - states;
        Shape weight = in.get(backward ? 0 : 1).shape();
        gates = weight.dim(0);
        hidden = weight.dim(1);
        Shape sequence = in.get(backward ? inputs - states - 1 : 0).shape();
        batch = sequence.dim(0);
        steps = Math.toIntExact(sequence.dim(1));
        workspace = inputs + outputs;
        long transposedBytes = backward ? 0 : align(gates * hidden * FLOAT);
        activeOffset = transposedBytes;
        loopOffset = activeOffset + (lengths < 0 ? 0 : align(batch));
        int threads = WorkerPool.shared().threads();
        int parts = batch >= (long) FEWEST_SEQUENCES * threads ? threads : 1;
        first = new Loop[parts];
        others = new Loop[parts];
        long bytes = 0;
        for (int i = 0; i < parts; i++) {
            long from = batch * i / parts;
            long to = batch * (i + 1) / parts;
            first[i] = loop(cell, from, to, true, parts == 1 ? threads : 1);
            others[i] = loop(cell, from, to, false, parts == 1 ? threads : 1);
            bytes = Math.max(bytes, Math.max(first[i].kernel.workspaceBytes(), others[i].kernel.workspaceBytes()));
        }
        loopBytes = align(bytes);
        Layout turned = Layout.contiguous(new Spec(DType.F32, Shape.of(hidden, gates))).permute(new int[] {1, 0});
        transpose = backward ? null : ElementwiseKernel.of(List.of(new Expr.Input(0, DType.F32)), weight,
                List.of(Layout.contiguous(new Spec(DType.F32, weight))), List.of(turned));
        transposeArguments = new long[backward ? 0 : transpose.workspaceBytes() > 0 ? 3 : 2];
    }

    /** Whether there is a kernel. */
    static boolean supports(Fused op, List<Spec> inputs) {
        return (op instanceof RecurrentScan || op instanceof RecurrentScan.Backward) && OneDnn.available()
                && inputs.getFirst().dtype() == DType.F32 && inputs.stream().allMatch(x -> x.shape().elements() > 0);
    }

    static RecurrentKernel of(RecurrentScan op, List<Layout> in) {
        return new RecurrentKernel(op.cell(), op.reverse(), false, in, op.hasLengths(in.size()) ? in.size() - 1 : -1,
                op.cell().states() + (op.cell().kept() > 0 ? 1 : 0));
    }

    static RecurrentKernel of(RecurrentScan.Backward op, List<Layout> in) {
        return new RecurrentKernel(op.cell(), op.reverse(), true, in, op.hasLengths(in.size()) ? 1 + op.cell().states() : -1,
                op.cell().states() + (op.cell().splits() ? 2 : 1));
    }

    private static long align(long bytes) {
        return (bytes + 63) & -64;
    }

    // ---- planning

    private Loop loop(RecurrentCell cell, long from, long to, boolean atFirst, int threads) {
        List<Rows> operands = new ArrayList<>();
        Rows a;
        Rows c;
        if (backward) {
            int kept = inputs - states - 1 - (cell.kept() > 0 ? 1 : 0); // place of what was kept; the states come before it
            columns(operands, kept, cell.kept(), cell.kept());
            before(operands, kept - states, 1, atFirst);
            behind(operands, kept - states, states);
            behind(operands, inputs - states - 1, 1);
            carried(operands);
            mask(operands);
            columns(operands, inputs, cell.gates(), cell.gates());
            if (cell.splits()) {
                columns(operands, inputs + 1, cell.gates(), cell.gates());
            }
            carried(operands);
            a = Rows.of(carried - 1, steps, gates, 0, false);
            c = Rows.fixed(carried, hidden);
        } else {
            int kept = inputs + states;
            int product = cell.kept() > 0 ? kept : inputs; // where U h lies until the gates replace it
            int width = Math.max(1, cell.kept());
            columns(operands, 0, cell.gates(), cell.gates());
            columns(operands, product, cell.gates(), width);
            for (int g = 0; g < cell.gates(); g++) {
                operands.add(new Rows(2, 0, 0, g * hidden * FLOAT, false));
            }
            before(operands, inputs, 3, atFirst);
            a = operands.get(operands.size() - states);
            mask(operands);
            columns(operands, kept, cell.kept(), cell.kept());
            behind(operands, inputs, states);
            c = Rows.of(product, steps, width * hidden, 0, false);
        }
        List<Expr> outputs = backward ? cell.backward(DType.F32, lengths >= 0) : cell.forward(DType.F32, lengths >= 0);
        Shape shape = Shape.of(to - from, hidden);
        List<Layout> layouts = operands.stream().map(rows -> rows.address == workspace
                ? new Layout(DType.BOOL, shape, new long[] {1, 0}, 0) : new Layout(DType.F32, shape, new long[] {rows.ld(), 1}, 0)).toList();
        int count = operands.size() - outputs.size();
        Kernel kernel = ElementwiseKernel.of(outputs, shape, layouts.subList(0, count), layouts.subList(count, layouts.size()), threads);
        return new Loop(from, to - from, operands, kernel, new long[operands.size() + (kernel.workspaceBytes() > 0 ? 1 : 0)], a, c);
    }

    /** The first {@code count} blocks of columns of {@code (B, T, blocks H)}. */
    private void columns(List<Rows> operands, int address, int count, int blocks) {
        for (int i = 0; i < count; i++) {
            operands.add(Rows.of(address, steps, blocks * hidden, i * hidden, false));
        }
    }

    /** {@code (B, T, H)} at the current step. */
    private void behind(List<Rows> operands, int address, int count) {
        for (int s = 0; s < count; s++) {
            operands.add(Rows.of(address + s, steps, hidden, 0, false));
        }
    }

    /** States before the step: those given at first, or {@code (B, T, H)} at the step before. */
    private void before(List<Rows> operands, int address, int given, boolean atFirst) {
        for (int s = 0; s < states; s++) {
            operands.add(atFirst ? Rows.fixed(given + s, hidden) : Rows.of(address + s, steps, hidden, 0, true));
        }
    }

    /** What goes from step to step, {@code (B, H)}. */
    private void carried(List<Rows> operands) {
        for (int s = 0; s < states; s++) {
            operands.add(Rows.fixed(carried + s, hidden));
        }
    }

    private void mask(List<Rows> operands) {
        if (lengths >= 0) {
            operands.add(new Rows(workspace, 1, 0, activeOffset, false));
        }
    }

    @Override
    public long workspaceBytes() {
        return loopOffset + loopBytes * first.length;
    }

    // ---- running

    @Override
    public void run(long[] addresses) {
        this.addresses = addresses;
        if (backward) { // the gradients of the last states are where the steps begin
            for (int s = 0; s < states; s++) {
                Memory.copy(addresses[inputs - states + s], addresses[carried + s], batch * hidden * FLOAT);
            }
        } else {
            transposeArguments[0] = addresses[1];
            transposeArguments[1] = addresses[workspace];
            transpose.run(transposeArguments);
        }
        WorkerPool.shared().parallelFor(first.length, this);
    }

    /** Takes some of the sequences through all steps. */
    @Override
    public void accept(int part) {
        for (int i = 0; i < steps; i++) {
            int step = backward ? steps - 1 - i : i;
            int now = time(step);
            int earlier = time(step - 1);
            Loop loop = step == 0 ? first[part] : others[part];
            for (long b = loop.from; lengths >= 0 && b < loop.from + loop.count; b++) {
                boolean active = Memory.getLong(addresses[lengths] + b * Long.BYTES) > now;
                Memory.putByte(addresses[workspace] + activeOffset + b, (byte) (active ? 1 : 0));
            }
            long a = loop.a.at(addresses, loop.from, now, earlier);
            long c = loop.c.at(addresses, loop.from, now, earlier);
            if (backward) {
                gates(loop, part, now, earlier);
                OneDnn.parallelSgemm(false, false, loop.count, hidden, gates, 1, a, loop.a.ld(), addresses[0], hidden, 1, c, loop.c.ld());
            } else {
                OneDnn.parallelSgemm(false, false, loop.count, gates, hidden, 1, a, loop.a.ld(), addresses[workspace], gates, 0, c, loop.c.ld());
                gates(loop, part, now, earlier);
            }
        }
    }

    private int time(int step) {
        return reverse ? steps - 1 - step : step;
    }

    private void gates(Loop loop, int part, int now, int earlier) {
        int n = loop.operands.size();
        for (int k = 0; k < n; k++) {
            loop.arguments[k] = loop.operands.get(k).at(addresses, loop.from, now, earlier);
        }
        if (loop.arguments.length > n) {
            loop.arguments[n] = addresses[workspace] + loopOffset + part * loopBytes;
        }
        loop.kernel.run(loop.arguments);
    }
}
