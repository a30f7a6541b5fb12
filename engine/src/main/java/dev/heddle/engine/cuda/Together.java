// Several steps as one call: for CUDA only a list, since a graph launches them all at once anyway.
package dev.heddle.engine.cuda;

import dev.heddle.engine.plan.Call;
import dev.heddle.engine.plan.Kernel;
import dev.heddle.engine.plan.Step;
import dev.heddle.engine.plan.Step.Operand;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** Runs the kernels of a call's steps in order; values that only they use lie in the workspace. */
final class Together implements Kernel {
    private final Kernel[] kernels;
    private final long[][] arguments;
    private final int[] firstOperand;
    private final int operands;
    private final long[] internal; // by operand, its offset in the workspace, or -1
    private final long scratch; // where in the workspace the kernels' own begins
    private final long workspaceBytes;

    Together(Call call, List<Kernel> parts) {
        int n = parts.size();
        kernels = parts.toArray(Kernel[]::new);
        arguments = new long[n][];
        firstOperand = new int[n];
        List<Operand> all = call.operands();
        operands = all.size();
        internal = new long[operands];
        Map<Integer, Long> placed = new HashMap<>();
        long bytes = 0;
        for (int k = 0; k < operands; k++) {
            internal[k] = -1;
            int storage = all.get(k).storage();
            if (call.rows() != null && call.rows().internal().contains(storage)) {
                if (!placed.containsKey(storage)) { // its writer, who writes all of it
                    placed.put(storage, bytes);
                    bytes += align(all.get(k).layout().spec().bytes());
                }
                internal[k] = placed.get(storage) + all.get(k).layout().byteOffset();
            }
        }
        scratch = bytes;
        long own = 0;
        for (int i = 0, operand = 0; i < n; i++) {
            Step step = call.steps().get(i);
            firstOperand[i] = operand;
            int count = step.inputs().size() + step.outputs().size();
            arguments[i] = new long[count + (kernels[i].workspaceBytes() > 0 ? 1 : 0)];
            own = Math.max(own, kernels[i].workspaceBytes());
            operand += count;
        }
        workspaceBytes = bytes + own;
    }

    private static long align(long bytes) {
        return (bytes + 255) & -256;
    }

    @Override
    public long workspaceBytes() {
        return workspaceBytes;
    }

    @Override
    public void run(long[] addresses) {
        for (int i = 0; i < kernels.length; i++) {
            int count = (i + 1 < kernels.length ? firstOperand[i + 1] : operands) - firstOperand[i];
            for (int k = 0, operand = firstOperand[i]; k < count; k++, operand++) {
                arguments[i][k] = internal[operand] < 0 ? addresses[operand] : addresses[operands] + internal[operand];
            }
            if (arguments[i].length > count) {
                arguments[i][count] = addresses[operands] + scratch;
            }
            kernels[i].run(arguments[i]);
        }
    }
}
