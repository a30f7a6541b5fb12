/**
 * Launchers for the CUDA kernels of {@code cuda-src}, and the catalogue of what that folder holds.
 */
package dev.heddle.kernels;
