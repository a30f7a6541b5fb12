// Checkpoints of ViT and Llama under the names of Hugging Face: the models read from them compute what plain loops compute.
package dev.heddle.training.weights;

import static dev.heddle.training.weights.PlainTransformer.add;
import static dev.heddle.training.weights.PlainTransformer.attention;
import static dev.heddle.training.weights.PlainTransformer.flat;
import static dev.heddle.training.weights.PlainTransformer.map;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.heddle.engine.DType;
import dev.heddle.engine.Generator;
import dev.heddle.engine.Tensor;
import dev.heddle.layers.Llama;
import dev.heddle.layers.VisionTransformer;
import dev.heddle.testing.NoLeaks;
import dev.heddle.training.CheckpointException;
import dev.heddle.training.SafeTensors;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

@NoLeaks
class VisionAndLlamaTest {
    private static final int C = 8;
    private static final int HEADS = 4;
    private static final int KEY_HEADS = 2;
    private static final int HIDDEN = 12;
    private static final int LAYERS = 2;
    private static final int[] TOKENS = {3, 1, 4, 1, 5, 9};
    private static final String LLAMA = """
            {"model_type": "llama", "hidden_act": "silu", "hidden_size": 8, "intermediate_size": 12, "max_position_embeddings": 10,
             "num_attention_heads": 4, "num_hidden_layers": 2, "num_key_value_heads": 2, "rms_norm_eps": 1e-05, "rope_theta": 50.0,
             "rope_scaling": null, "tie_word_embeddings": false, "vocab_size": 11}""";
    private static final String VIT = """
            {"model_type": "vit", "hidden_act": "gelu", "hidden_size": 8, "image_size": 4, "intermediate_size": 12, "num_attention_heads": 4,
             "num_channels": 1, "num_hidden_layers": 2, "patch_size": 2, "qkv_bias": true}""";

    @TempDir
    private Path folder;

    private Path folder(String config, Map<String, Tensor> weights) throws IOException {
        Files.writeString(folder.resolve("config.json"), config);
        new SafeTensors(weights, Map.of("format", "pt")).write(folder.resolve("model.safetensors"));
        return folder;
    }

    private static PlainTransformer llama() {
        PlainTransformer plain = new PlainTransformer();
        plain.add("model.embed_tokens.weight", 11, C);
        for (int i = 0; i < LAYERS; i++) {
            String h = "model.layers." + i + ".";
            plain.add(h + "input_layernorm.weight", C);
            plain.add(h + "self_attn.q_proj.weight", C, C);
            plain.add(h + "self_attn.k_proj.weight", C / HEADS * KEY_HEADS, C);
            plain.add(h + "self_attn.v_proj.weight", C / HEADS * KEY_HEADS, C);
            plain.add(h + "self_attn.o_proj.weight", C, C);
            plain.add(h + "post_attention_layernorm.weight", C);
            plain.add(h + "mlp.gate_proj.weight", HIDDEN, C);
            plain.add(h + "mlp.up_proj.weight", HIDDEN, C);
            plain.add(h + "mlp.down_proj.weight", C, HIDDEN);
        }
        plain.add("model.norm.weight", C);
        plain.add("lm_head.weight", 11, C);
        return plain;
    }

    private static double[][] rmsNorm(PlainTransformer p, double[][] x, String name) {
        double[][] y = new double[x.length][C];
        for (int t = 0; t < x.length; t++) {
            double mean = java.util.Arrays.stream(x[t]).map(v -> v * v).average().orElseThrow();
            for (int c = 0; c < C; c++) {
                y[t][c] = x[t][c] / Math.sqrt(mean + 1e-5) * p.get(name + ".weight")[c];
            }
        }
        return y;
    }

    /** Each head of two features turned by its position, in radians: the base does not matter for the first pair. */
    private static double[][] turned(double[][] x) {
        double[][] y = new double[x.length][x[0].length];
        for (int t = 0; t < x.length; t++) {
            for (int c = 0; c < x[t].length; c += 2) {
                y[t][c] = x[t][c] * Math.cos(t) - x[t][c + 1] * Math.sin(t);
                y[t][c + 1] = x[t][c] * Math.sin(t) + x[t][c + 1] * Math.cos(t);
            }
        }
        return y;
    }

    /** Each key head written out for the two heads that share it. */
    private static double[][] shared(double[][] x) {
        double[][] y = new double[x.length][C];
        for (int t = 0; t < x.length; t++) {
            for (int c = 0; c < C; c++) {
                y[t][c] = x[t][c / 4 * 2 + c % 2];
            }
        }
        return y;
    }

    private static double[][] llama(PlainTransformer p) {
        double[][] x = p.embed("model.embed_tokens.weight", TOKENS);
        for (int i = 0; i < LAYERS; i++) {
            String h = "model.layers." + i + ".";
            double[][] n = rmsNorm(p, x, h + "input_layernorm");
            double[][] k = shared(turned(p.linear(n, h + "self_attn.k_proj", false)));
            double[][] v = shared(p.linear(n, h + "self_attn.v_proj", false));
            double[][] a = attention(turned(p.linear(n, h + "self_attn.q_proj", false)), k, v, HEADS, true);
            x = add(x, p.linear(a, h + "self_attn.o_proj", false));
            n = rmsNorm(p, x, h + "post_attention_layernorm");
            double[][] gate = map(p.linear(n, h + "mlp.gate_proj", false), g -> g / (1 + Math.exp(-g)));
            double[][] up = p.linear(n, h + "mlp.up_proj", false);
            for (int t = 0; t < up.length; t++) {
                for (int c = 0; c < HIDDEN; c++) {
                    up[t][c] *= gate[t][c];
                }
            }
            x = add(x, p.linear(up, h + "mlp.down_proj", false));
        }
        return p.linear(rmsNorm(p, x, "model.norm"), "lm_head", false);
    }

    private static Tensor tokens() {
        return Tensor.of(TOKENS, 1, TOKENS.length).to(DType.I64);
    }

    @Test
    void llamaComputesWhatPlainLoopsDo() throws IOException {
        PlainTransformer plain = llama();
        Map<String, Tensor> weights = new LinkedHashMap<>(plain.weights);
        weights.put("model.layers.0.self_attn.rotary_emb.inv_freq", Tensor.ones(1));
        Llama model = LlamaWeights.read(folder(LLAMA, weights));
        assertEquals(new Llama.Config(11, 10, LAYERS, HEADS, KEY_HEADS, C, HIDDEN, 50, 1e-5, false), model.config());
        assertArrayEquals(flat(llama(plain)), model.forward(tokens()).toDoubleArray(), 2e-4);

        weights.put("lm_head.weight", weights.get("model.embed_tokens.weight"));
        double[] expected = LlamaWeights.read(folder(LLAMA, weights)).forward(tokens()).toDoubleArray();
        weights.remove("lm_head.weight");
        Llama tied = LlamaWeights.read(folder(LLAMA.replace("\"tie_word_embeddings\": false", "\"tie_word_embeddings\": true"), weights));
        assertArrayEquals(expected, tied.forward(tokens()).toDoubleArray());
        assertTrue(refused(() -> LlamaWeights.read(folder(LLAMA, weights))).contains("lm_head.weight is missing"));
    }

    @Test
    void whatOurLlamaDoesNotKnowIsRefused() throws IOException {
        Map<String, Tensor> weights = new LinkedHashMap<>(llama().weights);
        for (String[] wrong : new String[][] {{"\"rope_scaling\": null", "\"rope_scaling\": {\"factor\": 8}", "rope_scaling is {"},
            {"silu", "gelu", "gelu"}, {"\"vocab_size\"", "\"attention_bias\": true, \"vocab_size\"", "attention_bias"},
            {"50.0", "-1", "rope_theta is -1"}, {"\"vocab_size\"", "\"head_dim\": 4, \"vocab_size\"", "head_dim"}}) {
            assertTrue(refused(() -> LlamaWeights.read(folder(LLAMA.replace(wrong[0], wrong[1]), weights))).contains(wrong[2]), wrong[2]);
        }
        weights.put("model.layers.2.input_layernorm.weight", Tensor.ones(C));
        assertTrue(refused(() -> LlamaWeights.read(folder(LLAMA, weights))).contains("layers.2.input_layernorm.weight has no place"));
    }

    private static void layer(PlainTransformer plain, String name, int out, int in) {
        plain.add(name + ".weight", out, in);
        plain.add(name + ".bias", out);
    }

    private static void norm(PlainTransformer plain, String name) {
        plain.add(name + ".weight", C);
        plain.add(name + ".bias", C);
    }

    private static PlainTransformer vit() {
        PlainTransformer plain = new PlainTransformer();
        plain.add("vit.embeddings.cls_token", 1, 1, C);
        plain.add("vit.embeddings.position_embeddings", 1, 5, C);
        plain.add("vit.embeddings.patch_embeddings.projection.weight", C, 1, 2, 2);
        plain.add("vit.embeddings.patch_embeddings.projection.bias", C);
        for (int i = 0; i < LAYERS; i++) {
            String h = "vit.encoder.layer." + i + ".";
            norm(plain, h + "layernorm_before");
            for (String part : new String[] {"attention.query", "attention.key", "attention.value", "output.dense"}) {
                layer(plain, h + "attention." + part, C, C);
            }
            norm(plain, h + "layernorm_after");
            layer(plain, h + "intermediate.dense", HIDDEN, C);
            layer(plain, h + "output.dense", C, HIDDEN);
        }
        norm(plain, "vit.layernorm");
        layer(plain, "classifier", 3, C);
        return plain;
    }

    private static double[][] vit(PlainTransformer p, double[] pixels) {
        double[][] patches = new double[4][];
        for (int i = 0; i < 4; i++) {
            int corner = i / 2 * 8 + i % 2 * 2;
            patches[i] = new double[] {pixels[corner], pixels[corner + 1], pixels[corner + 4], pixels[corner + 5]};
        }
        patches = p.linear(patches, "vit.embeddings.patch_embeddings.projection", false);
        double[][] x = {p.get("vit.embeddings.cls_token"), patches[0], patches[1], patches[2], patches[3]};
        double[] positions = p.get("vit.embeddings.position_embeddings");
        x = add(x, new double[][] {row(positions, 0), row(positions, 1), row(positions, 2), row(positions, 3), row(positions, 4)});
        for (int i = 0; i < LAYERS; i++) {
            String h = "vit.encoder.layer." + i + ".";
            double[][] n = p.layerNorm(x, h + "layernorm_before.weight", h + "layernorm_before.bias", 1e-12);
            double[][] a = attention(p.linear(n, h + "attention.attention.query", false), p.linear(n, h + "attention.attention.key", false),
                    p.linear(n, h + "attention.attention.value", false), HEADS, false);
            x = add(x, p.linear(a, h + "attention.output.dense", false));
            n = p.layerNorm(x, h + "layernorm_after.weight", h + "layernorm_after.bias", 1e-12);
            x = add(x, p.linear(map(p.linear(n, h + "intermediate.dense", false), PlainTransformer::gelu), h + "output.dense", false));
        }
        return p.linear(new double[][] {p.layerNorm(x, "vit.layernorm.weight", "vit.layernorm.bias", 1e-12)[0]}, "classifier", false);
    }

    private static double[] row(double[] x, int i) {
        return java.util.Arrays.copyOfRange(x, i * C, (i + 1) * C);
    }

    @Test
    void vitComputesWhatPlainLoopsDo() throws IOException {
        PlainTransformer plain = vit();
        Tensor image = new Generator(3).randn(1, 1, 4, 4).eval();
        VisionTransformer model = VisionTransformerWeights.read(folder(VIT, plain.weights));
        assertArrayEquals(flat(vit(plain, image.toDoubleArray())), model.forward(image).toDoubleArray(), 2e-4);

        Map<String, Tensor> bare = new LinkedHashMap<>(); // as the model without its head is saved
        plain.weights.forEach((name, tensor) -> bare.put(name.replace("vit.", ""), tensor));
        bare.remove("classifier.weight");
        bare.remove("classifier.bias");
        bare.put("pooler.dense.weight", Tensor.ones(C, C));
        assertTrue(refused(() -> VisionTransformerWeights.read(folder(VIT, bare))).contains("has no classifier"));
        VisionTransformer own = new VisionTransformer(new VisionTransformer.Config(4, 2, 1, 7, LAYERS, HEADS, C, HIDDEN, 0));
        VisionTransformerWeights.load(own, bare);
        assertArrayEquals(model.features(image).toDoubleArray(), own.features(image).toDoubleArray());
        bare.put("encoder.layer.2.layernorm_after.bias", Tensor.ones(C));
        assertTrue(refused(() -> VisionTransformerWeights.load(own, bare)).contains("has no place"));
    }

    private static String refused(org.junit.jupiter.api.function.Executable import_) {
        return assertThrows(CheckpointException.class, import_).getMessage();
    }
}
