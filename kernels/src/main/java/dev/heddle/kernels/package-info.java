/**
 * Fused ops with CUDA kernels of their own: {@link dev.heddle.kernels.FusedFunctions} has them as functions,
 * {@link dev.heddle.kernels.Catalogue} lists the kernels of {@code cuda-src}, and
 * {@link dev.heddle.kernels.FusedCudaKernels} is how the engine finds them. On the CPU the ops decompose.
 *
 * <p>One more fused op is a record that says what it decomposes into, a kernel in {@code cuda-src} with its line in the
 * catalogue, a launcher, a function, and rows in the tests' table.
 */
package dev.heddle.kernels;
