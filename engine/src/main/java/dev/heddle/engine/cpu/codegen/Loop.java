// The contract between generated code and the kernels that drive it.
package dev.heddle.engine.cpu.codegen;

/**
 * A generated loop over {@code rows} rows of {@code n} elements. In a row every operand is either contiguous or a single
 * element that is repeated, which of the two is compiled in; from row to row it moves by a step of its own. All inputs of
 * an element are read before any of its outputs is written.
 */
interface Loop {
    /**
     * Computes.
     *
     * @param at address of the first row of each input, then of each output
     * @param step bytes from row to row, likewise
     * @param constants bits of the literals
     * @param rows number of rows
     * @param n elements in a row
     */
    void run(long[] at, long[] step, long[] constants, int rows, int n);
}
