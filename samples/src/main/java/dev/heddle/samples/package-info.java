/**
 * Runnable models and the {@code heddle} command line.
 */
package dev.heddle.samples;
