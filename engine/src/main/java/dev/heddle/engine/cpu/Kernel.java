// The CPU's kernels work on plain addresses.
package dev.heddle.engine.cpu;

/** See {@link dev.heddle.engine.plan.Kernel}. */
public interface Kernel extends dev.heddle.engine.plan.Kernel {}
