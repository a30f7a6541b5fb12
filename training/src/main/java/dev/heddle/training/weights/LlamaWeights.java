// Llama's weights under the names of Hugging Face.
package dev.heddle.training.weights;

import dev.heddle.engine.Tensor;
import dev.heddle.layers.Llama;
import java.nio.file.Path;
import java.util.Map;

/**
 * Reads checkpoints of Llama and of models like it, such as TinyLlama ({@code model.embed_tokens}, {@code
 * model.layers.0.self_attn.q_proj}, ..., {@code lm_head}). Those whose rotary positions are scaled (Llama 3.1 and later) are refused.
 */
public final class LlamaWeights {
    private LlamaWeights() {}

    /**
     * A model from a folder with {@code config.json} and {@code model.safetensors} (or its shards).
     *
     * @throws dev.heddle.training.CheckpointException if the folder cannot be read or holds another kind of model
     */
    public static Llama read(Path folder) {
        HuggingFaceFolder files = new HuggingFaceFolder(folder, "llama");
        files.require("hidden_act", "silu");
        files.require("attention_bias", "false");
        files.require("mlp_bias", "false");
        files.refuse("rope_scaling");
        files.refuse("rope_parameters");
        int dim = files.number("hidden_size");
        int heads = files.number("num_attention_heads");
        files.require("head_dim", String.valueOf(dim / heads));
        Llama model = new Llama(new Llama.Config(files.number("vocab_size"), files.number("max_position_embeddings"),
                files.number("num_hidden_layers"), heads, files.number("num_key_value_heads", heads), dim, files.number("intermediate_size"),
                files.decimal("rope_theta", 10_000), files.decimal("rms_norm_eps", 1e-6), files.flag("tie_word_embeddings")));
        load(model, files.tensors());
        return model;
    }

    /**
     * Sets a model's weights; all, or none if something is wrong.
     *
     * @param checkpoint tensors by their names, for example of {@link dev.heddle.training.SafeTensors}
     * @throws dev.heddle.training.CheckpointException if a tensor is missing, has another shape, or has no place in the model
     */
    public static void load(Llama model, Map<String, Tensor> checkpoint) {
        Importer in = new Importer(model, checkpoint, "model.", "embed_tokens.weight");
        in.copy("tokens", "embed_tokens.weight");
        for (int i = 0; i < model.config().layers(); i++) {
            String ours = "block" + i;
            String theirs = "layers." + i;
            in.copy(ours + ".norm1.weight", theirs + ".input_layernorm.weight");
            in.copy(ours + ".attention.query.weight", theirs + ".self_attn.q_proj.weight");
            in.keyValue(ours + ".attention.key_value", theirs + ".self_attn.k_proj", theirs + ".self_attn.v_proj");
            in.copy(ours + ".attention.out.weight", theirs + ".self_attn.o_proj.weight");
            in.copy(ours + ".norm2.weight", theirs + ".post_attention_layernorm.weight");
            for (String part : new String[] {"gate", "up", "down"}) {
                in.copy(ours + ".feed_forward." + part + ".weight", theirs + ".mlp." + part + "_proj.weight");
            }
        }
        in.copy("norm.weight", "norm.weight");
        if (!model.config().tied()) {
            in.copy("head.weight", "lm_head.weight");
        }
        in.finish("layers\\..*(?<!\\.rotary_emb\\.inv_freq)"); // those are no weights
    }
}
