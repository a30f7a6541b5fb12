/** A few ratios that hold on any machine, for continuous integration: {@code heddle bench guard}. */
package dev.heddle.bench.guard;
