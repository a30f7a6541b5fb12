/**
 * Kernels on a device: checked, timed, and set beside what the hardware can do. {@link dev.heddle.bench.kernel.KernelCase} describes
 * one, {@link dev.heddle.bench.kernel.KernelBench} runs them; {@code heddle bench kernels} is the command.
 */
package dev.heddle.bench.kernel;
