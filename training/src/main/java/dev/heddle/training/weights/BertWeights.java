// BERT's weights under the names of Hugging Face.
package dev.heddle.training.weights;

import dev.heddle.engine.Tensor;
import dev.heddle.layers.Bert;
import java.nio.file.Path;
import java.util.Map;

/**
 * Reads checkpoints of BERT and of models like it, such as MiniLM ({@code embeddings.word_embeddings}, {@code
 * encoder.layer.0.attention.self.query}, ...; with {@code bert.} ahead or without).
 */
public final class BertWeights {
    private BertWeights() {}

    /**
     * A model from a folder with {@code config.json} and {@code model.safetensors} (or its shards), in training mode. It has a pooler
     * if the checkpoint has.
     *
     * @throws dev.heddle.training.CheckpointException if the folder cannot be read or holds another kind of model
     */
    public static Bert read(Path folder) {
        HuggingFaceFolder files = new HuggingFaceFolder(folder, "bert");
        files.require("hidden_act", "gelu");
        files.require("position_embedding_type", "absolute");
        Map<String, Tensor> tensors = files.tensors();
        boolean pooler = tensors.containsKey("pooler.dense.weight") || tensors.containsKey("bert.pooler.dense.weight");
        Bert model = new Bert(new Bert.Config(files.number("vocab_size"), files.number("max_position_embeddings"),
                files.number("type_vocab_size"), files.number("num_hidden_layers"), files.number("num_attention_heads"),
                files.number("hidden_size"), files.number("intermediate_size"), 0.1, pooler));
        load(model, tensors);
        return model;
    }

    /**
     * Sets a model's weights; all, or none if something is wrong. A model without a pooler leaves out that of the checkpoint.
     *
     * @param checkpoint tensors by their names, for example of {@link dev.heddle.training.SafeTensors} or {@link Onnx}
     * @throws dev.heddle.training.CheckpointException if a tensor is missing, has another shape, or has no place in the model
     */
    public static void load(Bert model, Map<String, Tensor> checkpoint) {
        Importer in = new Importer(model, checkpoint, "bert.", "embeddings.word_embeddings.weight");
        in.copy("tokens", "embeddings.word_embeddings.weight");
        in.copy("positions", "embeddings.position_embeddings.weight");
        in.copy("segments", "embeddings.token_type_embeddings.weight");
        norm(in, "norm", "embeddings.LayerNorm");
        for (int i = 0; i < model.config().layers(); i++) {
            String ours = "block" + i;
            String theirs = "encoder.layer." + i;
            in.layer(ours + ".attention.query", theirs + ".attention.self.query");
            in.keyValue(ours + ".attention.key_value", theirs + ".attention.self.key", theirs + ".attention.self.value");
            in.layer(ours + ".attention.out", theirs + ".attention.output.dense");
            norm(in, ours + ".norm1", theirs + ".attention.output.LayerNorm");
            in.layer(ours + ".feed_forward.up", theirs + ".intermediate.dense");
            in.layer(ours + ".feed_forward.down", theirs + ".output.dense");
            norm(in, ours + ".norm2", theirs + ".output.LayerNorm");
        }
        if (model.config().pooler()) {
            in.layer("pooler", "pooler.dense");
        }
        in.finish("encoder\\..*");
    }

    /** Old checkpoints say gamma and beta for a norm's weight and bias. */
    private static void norm(Importer in, String ours, String theirs) {
        boolean old = in.has(theirs + ".gamma");
        in.copy(ours + ".weight", theirs + (old ? ".gamma" : ".weight"));
        in.copy(ours + ".bias", theirs + (old ? ".beta" : ".bias"));
    }
}
