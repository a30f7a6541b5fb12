// The same update of many variables: what an optimizer's step is.
package dev.heddle.engine.cpu;

import dev.heddle.engine.plan.Kernel;
import dev.heddle.engine.plan.Step;
import java.util.List;
import java.util.function.IntConsumer;
import java.util.stream.IntStream;

/** Large updates run one after the other on all threads; the small ones side by side, one thread each. */
final class Updates implements Kernel, IntConsumer {
    private static final long LARGE = 64 << 10; // elements

    private final Kernel[] kernels;
    private final long[][] arguments;
    private final int[] firstOperand;
    private final int external;
    private final long[] workspace; // by update, its offset
    private final long workspaceBytes;
    private final int[] large;
    private final int[] small;
    private final long smallElements;

    Updates(List<Step> steps) {
        int n = steps.size();
        kernels = new Kernel[n];
        arguments = new long[n][];
        firstOperand = new int[n];
        workspace = new long[n];
        int operands = 0;
        long bytes = 0;
        for (int i = 0; i < n; i++) {
            Step step = steps.get(i);
            kernels[i] = CpuBackend.loops(step, elements(step) < LARGE ? 1 : WorkerPool.shared().threads());
            int count = step.inputs().size() + step.outputs().size();
            arguments[i] = new long[count + (kernels[i].workspaceBytes() > 0 ? 1 : 0)];
            firstOperand[i] = operands;
            operands += count;
            workspace[i] = bytes;
            bytes += (kernels[i].workspaceBytes() + 63) & -64;
        }
        external = operands;
        workspaceBytes = bytes;
        large = IntStream.range(0, n).filter(i -> elements(steps.get(i)) >= LARGE).toArray();
        small = IntStream.range(0, n).filter(i -> elements(steps.get(i)) < LARGE).toArray();
        smallElements = IntStream.of(small).mapToLong(i -> elements(steps.get(i))).sum();
    }

    private static long elements(Step step) {
        return step.outputs().getFirst().layout().shape().elements();
    }

    @Override
    public long workspaceBytes() {
        return workspaceBytes;
    }

    @Override
    public void run(long[] addresses) {
        for (int i = 0; i < kernels.length; i++) {
            int operands = (i + 1 < kernels.length ? firstOperand[i + 1] : external) - firstOperand[i];
            System.arraycopy(addresses, firstOperand[i], arguments[i], 0, operands);
            if (arguments[i].length > operands) {
                arguments[i][operands] = addresses[external] + workspace[i];
            }
        }
        for (int i : large) {
            kernels[i].run(arguments[i]);
        }
        if (smallElements >= LARGE) {
            WorkerPool.shared().parallelFor(small.length, this);
        } else {
            for (int i : small) {
                kernels[i].run(arguments[i]);
            }
        }
    }

    /** Runs one of the small updates. */
    @Override
    public void accept(int task) {
        kernels[small[task]].run(arguments[small[task]]);
    }
}
