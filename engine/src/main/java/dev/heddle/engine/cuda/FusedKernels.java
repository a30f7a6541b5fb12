// Where kernels for fused ops come from: the engine works without them, and others can add theirs.
package dev.heddle.engine.cuda;

import dev.heddle.engine.op.Fused;
import dev.heddle.engine.op.Spec;
import dev.heddle.engine.plan.Kernel;
import java.util.List;

/**
 * A provider of CUDA kernels, named in {@code META-INF/services/dev.heddle.engine.cuda.FusedKernels} of its jar. What no
 * provider supports is decomposed.
 */
public interface FusedKernels {
    /** Whether there is a kernel for an op on inputs like these. */
    boolean supports(Fused op, List<Spec> inputs);

    /**
     * The kernel of an op it supports. Operands are contiguous; addresses come in the order inputs, outputs, workspace.
     *
     * @param cuda what launches are made with
     */
    Kernel kernel(Fused op, List<Spec> inputs, List<Spec> outputs, Cuda cuda);
}
