/**
 * Tensors: recorded operations, automatic differentiation, and the planner that runs them on a device.
 */
package dev.heddle.engine;
