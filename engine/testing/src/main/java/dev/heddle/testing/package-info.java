/**
 * Support for tests of code built on the engine: a JUnit extension that finds leaked buffers, and tensor assertions.
 */
package dev.heddle.testing;
