// Padding and joining: several copies into parts of one output.
package dev.heddle.engine.cpu;

import dev.heddle.engine.cpu.codegen.ElementwiseKernel;
import dev.heddle.engine.op.Expr;
import dev.heddle.engine.op.Movement;
import dev.heddle.engine.plan.Kernel;
import dev.heddle.engine.plan.Layout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** Runs copies one after the other, each of an input into a region of the output. */
final class CopyKernels implements Kernel {
    private record Part(Kernel kernel, int input, long byteOffset, long[] arguments) {}

    private final List<Part> parts = new ArrayList<>();
    private final int output; // place of the output's address

    private CopyKernels(int output) {
        this.output = output;
    }

    /** Every input into its place along the axis. */
    static CopyKernels concat(Movement.Concat op, List<Layout> inputs, Layout output) {
        CopyKernels copies = new CopyKernels(inputs.size());
        long start = 0;
        for (int i = 0; i < inputs.size(); i++) {
            long[] starts = new long[output.shape().rank()];
            starts[op.axis()] = start;
            copies.copy(i, inputs.get(i), output, starts);
            start += inputs.get(i).shape().dim(op.axis());
        }
        return copies;
    }

    /** The value everywhere, then the input into its place. */
    static CopyKernels pad(Movement.Pad op, Layout input, Layout output) {
        CopyKernels copies = new CopyKernels(1);
        Kernel fill = ElementwiseKernel.of(List.of(Expr.constant(op.value(), output.dtype())), output.shape(), List.of(),
                List.of(output));
        copies.parts.add(new Part(fill, -1, 0, new long[1 + (fill.workspaceBytes() > 0 ? 1 : 0)]));
        copies.copy(0, input, output, op.before().stream().mapToLong(b -> b).toArray());
        return copies;
    }

    private void copy(int index, Layout input, Layout output, long[] starts) {
        long[] steps = new long[starts.length];
        Arrays.fill(steps, 1);
        Layout region = output.slice(starts, input.shape().dims(), steps);
        Kernel copy = ElementwiseKernel.of(List.of(new Expr.Input(0, input.dtype())), input.shape(), List.of(input), List.of(region));
        parts.add(new Part(copy, index, region.byteOffset(), new long[2 + (copy.workspaceBytes() > 0 ? 1 : 0)]));
    }

    @Override
    public long workspaceBytes() {
        return parts.stream().mapToLong(p -> p.kernel.workspaceBytes()).max().orElse(0);
    }

    @Override
    public void run(long[] addresses) {
        for (Part part : parts) {
            long[] arguments = part.arguments;
            int next = 0;
            if (part.input >= 0) {
                arguments[next++] = addresses[part.input];
            }
            arguments[next++] = addresses[output] + part.byteOffset;
            if (next < arguments.length) {
                arguments[next] = addresses[output + 1];
            }
            part.kernel.run(arguments);
        }
    }
}
