/**
 * Micro-benchmarks, end-to-end runs and comparisons with other libraries.
 */
package dev.heddle.bench;
