/**
 * Micro-benchmarks in JMH, a class for each topic: {@code heddle bench jmh -l} lists them, {@code heddle bench jmh Softmax} runs those
 * whose name has "Softmax" in it. Times are those of a call, with recording and plan lookup, until the result is there. They
 * are of the CPU; {@code heddle bench kernels} also times a GPU's kernels.
 */
package dev.heddle.bench.jmh;
