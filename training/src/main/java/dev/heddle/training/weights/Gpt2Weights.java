// GPT-2's weights under the names of Hugging Face.
package dev.heddle.training.weights;

import dev.heddle.engine.Shape;
import dev.heddle.engine.Tensor;
import dev.heddle.layers.Gpt;
import dev.heddle.training.CheckpointException;
import java.nio.file.Path;
import java.util.Map;

/**
 * Reads checkpoints of GPT-2 ({@code wte}, {@code h.0.attn.c_attn}, ...; with {@code transformer.} ahead or without). Their linear
 * layers are 1-by-1 convolutions with weights {@code (in, out)}; queries, keys and values are one layer.
 */
public final class Gpt2Weights {
    private Gpt2Weights() {}

    /**
     * A model from a folder with {@code config.json} and {@code model.safetensors} (or its shards), in training mode.
     *
     * @throws CheckpointException if the folder cannot be read or holds another kind of model
     */
    public static Gpt read(Path folder) {
        HuggingFaceFolder files = new HuggingFaceFolder(folder, "gpt2");
        files.require("activation_function", "gelu_new");
        int dim = files.number("n_embd");
        int hidden = files.number("n_inner", 4 * dim);
        if (hidden != 4 * dim) {
            throw new CheckpointException(folder + ": n_inner is " + hidden + "; only 4 n_embd is known");
        }
        Map<String, Tensor> tensors = files.tensors();
        Gpt model = new Gpt(new Gpt.Config(files.number("vocab_size"), files.number("n_positions"), files.number("n_layer"),
                files.number("n_head"), dim, 0.1));
        load(model, tensors);
        return model;
    }

    /**
     * Sets a model's weights; all, or none if something is wrong.
     *
     * @param checkpoint tensors by their names, for example of {@link dev.heddle.training.SafeTensors}
     * @throws CheckpointException if a tensor is missing, has another shape, or has no place in the model
     */
    public static void load(Gpt model, Map<String, Tensor> checkpoint) {
        Importer in = new Importer(model, checkpoint, "transformer.", "wte.weight");
        in.copy("tokens", "wte.weight");
        in.copy("positions", "wpe.weight");
        for (int i = 0; i < model.config().layers(); i++) {
            String ours = "block" + i;
            String theirs = "h." + i;
            in.layer(ours + ".norm1", theirs + ".ln_1");
            attention(in, ours + ".attention", theirs + ".attn.c_attn", model.config().dim());
            convolution(in, ours + ".attention.out", theirs + ".attn.c_proj");
            in.layer(ours + ".norm2", theirs + ".ln_2");
            convolution(in, ours + ".feed_forward.up", theirs + ".mlp.c_fc");
            convolution(in, ours + ".feed_forward.down", theirs + ".mlp.c_proj");
        }
        in.layer("norm", "ln_f");
        in.finish("h\\..*(?<!\\.attn\\.bias|\\.attn\\.masked_bias)"); // those two are no weights, but the causal mask
    }

    /** One layer of queries, keys and values, {@code (C, 3 C)}, to two. */
    private static void attention(Importer in, String ours, String theirs, int dim) {
        Tensor weight = in.take(theirs + ".weight", Shape.of(dim, 3 * dim)).t(); // (3 C, C)
        Tensor bias = in.take(theirs + ".bias", Shape.of(3 * dim)); // (3 C)
        in.put(ours + ".query.weight", weight.slice(0, 0, dim)); // (C, C)
        in.put(ours + ".query.bias", bias.slice(0, 0, dim));
        in.put(ours + ".key_value.weight", weight.slice(0, dim, 3 * dim)); // (2 C, C)
        in.put(ours + ".key_value.bias", bias.slice(0, dim, 3 * dim));
    }

    private static void convolution(Importer in, String ours, String theirs) {
        Shape shape = in.shape(ours + ".weight");
        in.put(ours + ".weight", in.take(theirs + ".weight", Shape.of(shape.dim(1), shape.dim(0))).t()); // (out, in)
        in.copy(ours + ".bias", theirs + ".bias");
    }
}
