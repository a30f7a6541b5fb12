// What a backend makes of one step of a plan.
package dev.heddle.engine.plan;

/**
 * Work bound to shapes, strides and dtypes when the plan is compiled, and to addresses when it runs. A kernel keeps no
 * state between runs and allocates nothing.
 */
public interface Kernel {
    /**
     * Does the work.
     *
     * @param addresses of the first element (layout offsets applied) of each of {@link Call#operands()}, then of the
     *     workspace if {@link #workspaceBytes()} is not 0
     */
    void run(long[] addresses);

    /** Bytes of scratch memory the kernel needs while it runs, 64-byte aligned, its contents undefined. */
    default long workspaceBytes() {
        return 0;
    }
}
