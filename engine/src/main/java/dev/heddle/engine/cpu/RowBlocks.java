// Softmax, the norms and their like: several steps, one trip through memory.
package dev.heddle.engine.cpu;

import dev.heddle.engine.op.MatMul;
import dev.heddle.engine.plan.Call;
import dev.heddle.engine.plan.Kernel;
import dev.heddle.engine.plan.Layout;
import dev.heddle.engine.plan.Step;
import dev.heddle.engine.plan.Step.Operand;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalLong;
import java.util.function.IntConsumer;

/**
 * Runs the steps of a call on a block of rows before it goes on to the next block, so that what one step leaves the next
 * finds in the cache. Each part of the work has kernels and scratch memory of its own; which thread runs it does not matter.
 */
final class RowBlocks implements Kernel, IntConsumer {
    /** Bytes of one operand's block: a few of them fit into a core's second-level cache. */
    private static final long BLOCK_BYTES = 32 << 10;
    private static final int PARTS_PER_THREAD = 2;
    /** Fewer elements than this, over all steps, are not worth a second thread. */
    private static final long PARALLEL = 32 << 10;

    /** The steps' kernels for a number of rows, and their arguments. */
    private record Block(Kernel[] kernels, long[][] arguments) {}

    private final long rows;
    private final int blockRows;
    private final int external; // operands of all steps
    private final int[] firstOperand; // by step
    private final long[] rowBytes; // by operand, unless it has offsets
    private final long[][] rowOffsets; // by operand, then by row, in bytes: of operands whose rows do not lie at equal distances
    private final long[] internal; // by operand, its offset in the scratch memory, -1 if it lies outside
    private final long stepScratch; // where, in a part's scratch memory, the steps' own begins
    private final long scratchBytes; // of a part
    private final Block[] whole; // by part
    private final Block[] rest;
    private long[] addresses;

    RowBlocks(Call call) {
        List<Step> steps = call.steps();
        List<Operand> operands = call.operands();
        rows = call.rows().count();
        external = operands.size();
        firstOperand = new int[steps.size()];
        rowBytes = new long[external];
        rowOffsets = new long[external][];
        internal = new long[external];
        long widest = 1;
        long elements = 0;
        int[] leading = new int[external];
        boolean oneByOne = false;
        for (int i = 0, operand = 0; i < steps.size(); i++) {
            firstOperand[i] = operand;
            Step step = steps.get(i);
            for (int k = step.inputs().size() + step.outputs().size(); k > 0; k--, operand++) {
                leading[operand] = call.rows().leading().get(i);
                int input = operand - firstOperand[i];
                Layout layout = input < step.inputs().size() ? Call.walked(step, input) : operands.get(operand).layout();
                OptionalLong stride = layout.rowStride(leading[operand]);
                if (stride.isPresent()) {
                    rowBytes[operand] = stride.getAsLong() * layout.dtype().bytes();
                } else {
                    rowOffsets[operand] = offsets(layout, leading[operand]);
                    oneByOne = true;
                }
                oneByOne |= step.op() instanceof MatMul;
                widest = Math.max(widest, layout.shape().elements() / rows * layout.dtype().bytes());
            }
            elements += step.inputs().isEmpty() ? 0 : work(step);
        }
        int parts = elements < PARALLEL ? 1 : (int) Math.min(rows, (long) PARTS_PER_THREAD * WorkerPool.shared().threads());
        blockRows = oneByOne ? 1 : (int) Math.max(1, Math.min((rows + parts - 1) / parts, BLOCK_BYTES / widest));
        long scratch = 0;
        Map<Integer, Long> placed = new HashMap<>();
        for (int k = 0; k < external; k++) {
            int storage = operands.get(k).storage();
            internal[k] = -1;
            if (call.rows().internal().contains(storage)) {
                if (!placed.containsKey(storage)) {
                    placed.put(storage, scratch);
                    scratch += align(rowBytes[k] * blockRows);
                }
                internal[k] = placed.get(storage) + operands.get(k).layout().byteOffset();
            }
        }
        long blocks = (rows + blockRows - 1) / blockRows;
        parts = (int) Math.min(parts, blocks);
        whole = new Block[parts];
        rest = new Block[parts];
        int left = (int) (rows % blockRows);
        long kernelScratch = 0;
        for (int part = 0; part < parts; part++) {
            whole[part] = block(steps, call.rows().leading(), blockRows);
            rest[part] = left == 0 || part < parts - 1 ? null : block(steps, call.rows().leading(), left);
            for (Block block : new Block[] {whole[part], rest[part]}) {
                for (int i = 0; block != null && i < block.kernels.length; i++) {
                    kernelScratch = Math.max(kernelScratch, block.kernels[i].workspaceBytes());
                }
            }
        }
        stepScratch = scratch;
        scratchBytes = scratch + align(kernelScratch);
    }

    private static long work(Step step) {
        Layout first = step.inputs().getFirst().layout();
        return step.op() instanceof MatMul ? step.outputs().getFirst().layout().shape().elements() * first.shape().dim(-1) / 8
                : first.shape().elements();
    }

    /** Where each row begins, in bytes. */
    private static long[] offsets(Layout layout, int leading) {
        long[] offsets = {0};
        for (int axis = 0; axis < leading; axis++) {
            int extent = Math.toIntExact(layout.shape().dim(axis));
            long[] next = new long[offsets.length * extent];
            for (int i = 0; i < next.length; i++) {
                next[i] = offsets[i / extent] + i % extent * layout.stride(axis) * layout.dtype().bytes();
            }
            offsets = next;
        }
        return offsets;
    }

    private static long align(long bytes) {
        return (bytes + 63) & -64;
    }

    private static Block block(List<Step> steps, List<Integer> leading, int rows) {
        List<Kernel> kernels = new ArrayList<>();
        List<long[]> arguments = new ArrayList<>();
        for (int i = 0; i < steps.size(); i++) {
            Step step = steps.get(i);
            int axes = leading.get(i);
            List<Operand> inputs = new ArrayList<>();
            for (int k = 0; k < step.inputs().size(); k++) {
                inputs.add(new Operand(step.inputs().get(k).storage(), Call.walked(step, k)));
            }
            Kernel kernel = CpuBackend.ofOneThread(new Step(step.op(), step.prologue(), step.epilogue(), rows(inputs, axes, rows),
                    rows(step.outputs(), axes, rows), step.node()));
            kernels.add(kernel);
            arguments.add(new long[step.inputs().size() + step.outputs().size() + (kernel.workspaceBytes() > 0 ? 1 : 0)]);
        }
        return new Block(kernels.toArray(Kernel[]::new), arguments.toArray(long[][]::new));
    }

    private static List<Operand> rows(List<Operand> operands, int leading, int rows) {
        return operands.stream().map(x -> new Operand(x.storage(), x.layout().rows(leading, rows))).toList();
    }

    @Override
    public long workspaceBytes() {
        return scratchBytes * whole.length;
    }

    @Override
    public void run(long[] addresses) {
        this.addresses = addresses;
        WorkerPool.shared().parallelFor(whole.length, this);
    }

    /** Does one part of the work. */
    @Override
    public void accept(int part) {
        long blocks = (rows + blockRows - 1) / blockRows;
        long end = blocks * (part + 1) / whole.length;
        long scratch = scratchBytes == 0 ? 0 : addresses[external] + part * scratchBytes;
        for (long block = blocks * part / whole.length; block < end; block++) {
            boolean full = (block + 1) * blockRows <= rows;
            run(full ? whole[part] : rest[part], block * blockRows, scratch);
        }
    }

    private void run(Block block, long row, long scratch) {
        for (int i = 0; i < block.kernels.length; i++) {
            long[] arguments = block.arguments[i];
            int operands = (i + 1 < firstOperand.length ? firstOperand[i + 1] : external) - firstOperand[i];
            for (int k = 0, operand = firstOperand[i]; k < operands; k++, operand++) {
                arguments[k] = internal[operand] >= 0 ? scratch + internal[operand]
                        : addresses[operand] + (rowOffsets[operand] == null ? row * rowBytes[operand] : rowOffsets[operand][(int) row]);
            }
            if (arguments.length > operands) {
                arguments[operands] = scratch + stepScratch;
            }
            block.kernels[i].run(arguments);
        }
    }
}
