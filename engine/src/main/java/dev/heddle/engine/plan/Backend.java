// What a device has to offer for the planner to make plans for it.
package dev.heddle.engine.plan;

import dev.heddle.engine.memory.DeviceMemory;
import dev.heddle.engine.op.Fused;
import dev.heddle.engine.op.Op;
import dev.heddle.engine.op.Spec;
import java.util.List;

/** A device's kernels, and their wishes about layouts. */
public interface Backend {
    /** Where its tensors live. */
    DeviceMemory memory();

    /**
     * Runs kernels in order, each with its row of addresses; made once a plan, run at each step. The addresses are the same
     * array objects each time, their contents may change.
     */
    Runnable program(Kernel[] kernels, long[][] addresses);

    /**
     * Whether a program runs faster when its addresses stay the same: data and results whose place changes from step to
     * step are then copied to and from a fixed place.
     */
    boolean prefersFixedAddresses();

    /** Whether each value of a plan gets memory of its own in each run, for tools that look for accesses outside of it. */
    boolean separatesValues();

    /** Called when all of a plan, its copies included, has been launched. */
    void launched();

    /** Waits until all that was launched has run. */
    void synchronize();

    /** Whether there is a kernel for a fused op; otherwise it is decomposed. */
    boolean supports(Fused op, List<Spec> inputs);

    /**
     * The layout in which an op wants an input: the given one if it takes that, another (a copy is made) if not.
     *
     * @param input the input's place
     * @param layouts of all inputs
     */
    Layout inputLayout(Op op, int input, List<Layout> layouts);

    /** The layout in which an op writes an output best, when the planner is free to choose; dense, no offset. */
    Layout outputLayout(Op op, Spec output, List<Layout> inputs);

    /** Whether the kernel of a convolution or a matrix product of two inputs can do what the epilogue says as it stores. */
    boolean folds(Op op, Step.Epilogue epilogue, List<Spec> inputs);

    /** Whether a call whose last steps reduce over all its rows is better than these steps by themselves. */
    boolean reducesRows(Call call);

    /** The kernel of a call; it gets the addresses of {@link Call#operands()}. */
    Kernel kernel(Call call);
}
