/**
 * Everything around a training step: losses, optimizers, data loading, metrics and checkpoints.
 */
package dev.heddle.training;
