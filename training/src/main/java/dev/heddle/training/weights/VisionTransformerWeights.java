// The vision transformer's weights under the names of Hugging Face.
package dev.heddle.training.weights;

import dev.heddle.engine.Tensor;
import dev.heddle.layers.VisionTransformer;
import dev.heddle.training.CheckpointException;
import java.nio.file.Path;
import java.util.Map;

/**
 * Reads checkpoints of ViT ({@code embeddings.cls_token}, {@code encoder.layer.0.attention.attention.query}, ...; with {@code vit.}
 * ahead or without; {@code classifier}).
 */
public final class VisionTransformerWeights {
    private VisionTransformerWeights() {}

    /**
     * A classifier from a folder with {@code config.json} and {@code model.safetensors} (or its shards), in training mode.
     *
     * @throws CheckpointException if the folder cannot be read or holds another kind of model, or one without a classifier
     */
    public static VisionTransformer read(Path folder) {
        HuggingFaceFolder files = new HuggingFaceFolder(folder, "vit");
        files.require("hidden_act", "gelu");
        files.require("qkv_bias", "true");
        Map<String, Tensor> tensors = files.tensors();
        if (!tensors.containsKey("classifier.weight")) {
            throw new CheckpointException(folder + ": has no classifier; make a model for classes of your own, and load the tensors into it");
        }
        VisionTransformer model = new VisionTransformer(new VisionTransformer.Config(files.number("image_size"), files.number("patch_size"),
                files.number("num_channels"), Math.toIntExact(tensors.get("classifier.weight").dim(0)), files.number("num_hidden_layers"),
                files.number("num_attention_heads"), files.number("hidden_size"), files.number("intermediate_size"), 0));
        load(model, tensors);
        return model;
    }

    /**
     * Sets a model's weights; all, or none if something is wrong. The head of the model stays as it is if the checkpoint has no
     * classifier.
     *
     * @param checkpoint tensors by their names, for example of {@link dev.heddle.training.SafeTensors}
     * @throws CheckpointException if a tensor is missing, has another shape, or has no place in the model
     */
    public static void load(VisionTransformer model, Map<String, Tensor> checkpoint) {
        Importer in = new Importer(model, checkpoint, "vit.", "embeddings.cls_token");
        in.copy("class_token", "embeddings.cls_token");
        in.copy("positions", "embeddings.position_embeddings");
        in.layer("patches", "embeddings.patch_embeddings.projection");
        for (int i = 0; i < model.config().layers(); i++) {
            String ours = "block" + i;
            String theirs = "encoder.layer." + i;
            in.layer(ours + ".norm1", theirs + ".layernorm_before");
            in.layer(ours + ".attention.query", theirs + ".attention.attention.query");
            in.keyValue(ours + ".attention.key_value", theirs + ".attention.attention.key", theirs + ".attention.attention.value");
            in.layer(ours + ".attention.out", theirs + ".attention.output.dense");
            in.layer(ours + ".norm2", theirs + ".layernorm_after");
            in.layer(ours + ".feed_forward.up", theirs + ".intermediate.dense");
            in.layer(ours + ".feed_forward.down", theirs + ".output.dense");
        }
        in.layer("norm", "layernorm");
        if (in.has("classifier.weight")) {
            in.layer("head", "classifier");
        } else {
            in.leave("head.weight");
            in.leave("head.bias");
        }
        in.finish("encoder\\..*");
    }
}
