/**
 * How time and memory of a training step grow with the size of what is trained, and what starting and a new shape cost: {@code heddle
 * bench scaling}.
 */
package dev.heddle.bench.scaling;
