/**
 * Weights that others trained: checkpoints of Hugging Face, in safetensors or as initialisers of an ONNX file. Each family of models
 * has one class, such as {@link dev.heddle.training.weights.BertWeights}, that puts their names beside ours; its test compares the
 * imported model with plain loops over the same weights. {@link dev.heddle.training.weights.Onnx} needs {@code
 * com.google.protobuf:protobuf-java}, which is an optional dependency.
 */
package dev.heddle.training.weights;
