// What one run of a plan works on.
package dev.heddle.engine.plan;

/**
 * Addresses for one run.
 *
 * @param sources by value of the graph: the address of a {@code DATA}, the bits of a {@code SCALAR}; others unused
 * @param states by variable slot: the address of its memory
 * @param roots by root: where its value goes
 */
public record Bindings(long[] sources, long[] states, long[] roots) {}
