// Where kernels for fused ops come from: the engine works without them, and others can add theirs.
package dev.heddle.engine.cuda;

import dev.heddle.engine.op.Fused;
import dev.heddle.engine.op.Spec;
import dev.heddle.engine.plan.Kernel;
import dev.heddle.engine.plan.Layout;
import java.util.List;

/**
 * A provider of CUDA kernels, named in {@code META-INF/services/dev.heddle.engine.cuda.FusedKernels} of its jar. What no
 * provider supports is decomposed.
 */
public interface FusedKernels {
    /** Whether there is a kernel for an op on inputs like these. */
    boolean supports(Fused op, List<Spec> inputs);

    /** How the kernel wants an input: as it lies if it takes that, otherwise it gets a copy; contiguous unless overridden. */
    default Layout inputLayout(Fused op, int input, List<Layout> inputs) {
        Layout given = inputs.get(input);
        return given.isContiguous() ? given : Layout.contiguous(given.spec());
    }

    /** How the kernel should write an output: dense, in any order of the axes. */
    default Layout outputLayout(Fused op, Spec output, List<Layout> inputs) {
        return Layout.contiguous(output);
    }

    /**
     * The kernel of an op it supports. Addresses come in the order inputs, outputs, workspace.
     *
     * @param inputs as {@link #inputLayout} said
     * @param outputs as {@link #outputLayout} said, or contiguous
     * @param cuda what launches are made with
     */
    Kernel kernel(Fused op, List<Layout> inputs, List<Layout> outputs, Cuda cuda);
}
