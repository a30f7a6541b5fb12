/**
 * Weights that others trained: checkpoints of Hugging Face, in safetensors or as initialisers of an ONNX file. {@link
 * dev.heddle.training.weights.Onnx} needs {@code com.google.protobuf:protobuf-java}, which is an optional dependency.
 */
package dev.heddle.training.weights;
