// Checkpoints under the names of Hugging Face: the models read from them compute what plain loops compute.
package dev.heddle.training.weights;

import static dev.heddle.training.weights.PlainTransformer.add;
import static dev.heddle.training.weights.PlainTransformer.attention;
import static dev.heddle.training.weights.PlainTransformer.columns;
import static dev.heddle.training.weights.PlainTransformer.flat;
import static dev.heddle.training.weights.PlainTransformer.map;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.heddle.engine.DType;
import dev.heddle.engine.Tensor;
import dev.heddle.layers.Bert;
import dev.heddle.layers.Gpt;
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
class HuggingFaceTest {
    private static final int VOCABULARY = 13;
    private static final int C = 8;
    private static final int HEADS = 2;
    private static final int LAYERS = 2;
    private static final int[] TOKENS = {3, 1, 4, 1, 5, 9, 2, 6};
    private static final int[] PLACES = {0, 1, 2, 3, 4, 5, 6, 7};
    private static final String GPT2 = """
            {"model_type": "gpt2", "activation_function": "gelu_new", "n_embd": 8, "n_head": 2, "n_inner": null, "n_layer": 2,
             "n_positions": 10, "vocab_size": 13}""";
    private static final String BERT = """
            {"model_type": "bert", "hidden_act": "gelu", "hidden_size": 8, "intermediate_size": 12, "max_position_embeddings": 10,
             "num_attention_heads": 2, "num_hidden_layers": 2, "type_vocab_size": 2, "vocab_size": 13}""";

    @TempDir
    private Path folder;

    private static Tensor tokens() {
        return Tensor.of(TOKENS, 1, TOKENS.length).to(DType.I64);
    }

    private static PlainTransformer gpt2() {
        PlainTransformer plain = new PlainTransformer();
        plain.add("wte.weight", VOCABULARY, C);
        plain.add("wpe.weight", 10, C);
        for (int i = 0; i < LAYERS; i++) {
            String h = "h." + i + ".";
            norm(plain, h + "ln_1");
            layer(plain, h + "attn.c_attn", 3 * C, C, 3 * C);
            layer(plain, h + "attn.c_proj", C, C, C);
            norm(plain, h + "ln_2");
            layer(plain, h + "mlp.c_fc", 4 * C, C, 4 * C);
            layer(plain, h + "mlp.c_proj", C, 4 * C, C);
        }
        norm(plain, "ln_f");
        return plain;
    }

    private static void norm(PlainTransformer plain, String name) {
        plain.add(name + ".weight", C);
        plain.add(name + ".bias", C);
    }

    private static void layer(PlainTransformer plain, String name, int out, int... weight) {
        plain.add(name + ".weight", weight[0], weight[1]);
        plain.add(name + ".bias", out);
    }

    /** Logits of GPT-2 as its authors' code computes them. */
    private static double[] gpt2(PlainTransformer p) {
        double[][] x = add(p.embed("wte.weight", TOKENS), p.embed("wpe.weight", PLACES));
        for (int i = 0; i < LAYERS; i++) {
            String h = "h." + i + ".";
            double[][] qkv = p.linear(p.layerNorm(x, h + "ln_1.weight", h + "ln_1.bias", 1e-5), h + "attn.c_attn", true);
            double[][] a = attention(columns(qkv, 0, C), columns(qkv, C, 2 * C), columns(qkv, 2 * C, 3 * C), HEADS, true);
            x = add(x, p.linear(a, h + "attn.c_proj", true));
            double[][] m = p.linear(p.layerNorm(x, h + "ln_2.weight", h + "ln_2.bias", 1e-5), h + "mlp.c_fc", true);
            x = add(x, p.linear(map(m, PlainTransformer::geluTanh), h + "mlp.c_proj", true));
        }
        x = p.layerNorm(x, "ln_f.weight", "ln_f.bias", 1e-5);
        double[][] table = p.embed("wte.weight", 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12);
        double[] logits = new double[TOKENS.length * VOCABULARY];
        for (int i = 0; i < logits.length; i++) {
            for (int c = 0; c < C; c++) {
                logits[i] += x[i / VOCABULARY][c] * table[i % VOCABULARY][c];
            }
        }
        return logits;
    }

    private static PlainTransformer bert(String gamma, String beta) {
        PlainTransformer plain = new PlainTransformer();
        plain.add("embeddings.word_embeddings.weight", VOCABULARY, C);
        plain.add("embeddings.position_embeddings.weight", 10, C);
        plain.add("embeddings.token_type_embeddings.weight", 2, C);
        plain.add("embeddings.LayerNorm" + gamma, C);
        plain.add("embeddings.LayerNorm" + beta, C);
        for (int i = 0; i < LAYERS; i++) {
            String h = "encoder.layer." + i + ".";
            for (String part : new String[] {"self.query", "self.key", "self.value", "output.dense"}) {
                layer(plain, h + "attention." + part, C, C, C);
            }
            layer(plain, h + "intermediate.dense", 12, 12, C);
            layer(plain, h + "output.dense", C, C, 12);
            for (String part : new String[] {"attention.output.LayerNorm", "output.LayerNorm"}) {
                plain.add(h + part + gamma, C);
                plain.add(h + part + beta, C);
            }
        }
        layer(plain, "pooler.dense", C, C, C);
        return plain;
    }

    /** Features of BERT, the second half of the tokens in segment 1. */
    private static double[][] bert(PlainTransformer p, String gamma, String beta) {
        double[][] x = add(add(p.embed("embeddings.word_embeddings.weight", TOKENS), p.embed("embeddings.position_embeddings.weight", PLACES)),
                p.embed("embeddings.token_type_embeddings.weight", 0, 0, 0, 0, 1, 1, 1, 1));
        x = p.layerNorm(x, "embeddings.LayerNorm" + gamma, "embeddings.LayerNorm" + beta, 1e-12);
        for (int i = 0; i < LAYERS; i++) {
            String h = "encoder.layer." + i + ".";
            double[][] a = attention(p.linear(x, h + "attention.self.query", false), p.linear(x, h + "attention.self.key", false),
                    p.linear(x, h + "attention.self.value", false), HEADS, false);
            String norm = h + "attention.output.LayerNorm";
            x = p.layerNorm(add(x, p.linear(a, h + "attention.output.dense", false)), norm + gamma, norm + beta, 1e-12);
            double[][] m = map(p.linear(x, h + "intermediate.dense", false), PlainTransformer::gelu);
            norm = h + "output.LayerNorm";
            x = p.layerNorm(add(x, p.linear(m, h + "output.dense", false)), norm + gamma, norm + beta, 1e-12);
        }
        return x;
    }

    private Path folder(String config, Map<String, Tensor> weights) throws IOException {
        Files.writeString(folder.resolve("config.json"), config);
        new SafeTensors(weights, Map.of("format", "pt")).write(folder.resolve("model.safetensors"));
        return folder;
    }

    private static Map<String, Tensor> prefixed(String prefix, Map<String, Tensor> weights) {
        Map<String, Tensor> all = new LinkedHashMap<>();
        weights.forEach((name, tensor) -> all.put(prefix + name, tensor));
        return all;
    }

    @Test
    void gpt2ComputesWhatPlainLoopsDo() throws IOException {
        PlainTransformer plain = gpt2();
        Gpt model = Gpt2Weights.read(folder(GPT2, plain.weights));
        model.eval();
        assertArrayEquals(gpt2(plain), model.forward(tokens()).toDoubleArray(), 2e-4);

        Map<String, Tensor> other = prefixed("transformer.", plain.weights); // as the model with its head is saved
        other.put("lm_head.weight", plain.weights.get("wte.weight"));
        other.put("transformer.h.0.attn.bias", Tensor.ones(1, 1, 10, 10));
        other.put("transformer.h.1.attn.masked_bias", Tensor.scalar(-1e4));
        Gpt same = Gpt2Weights.read(folder(GPT2, other));
        same.eval();
        assertArrayEquals(model.forward(tokens()).toDoubleArray(), same.forward(tokens()).toDoubleArray());
    }

    @Test
    void bertComputesWhatPlainLoopsDo() throws IOException {
        for (String[] norm : new String[][] {{".weight", ".bias"}, {".gamma", ".beta"}}) {
            PlainTransformer plain = bert(norm[0], norm[1]);
            boolean head = norm[0].equals(".gamma");
            Map<String, Tensor> weights = head ? prefixed("bert.", plain.weights) : new LinkedHashMap<>(plain.weights);
            weights.put((head ? "bert." : "") + "embeddings.position_ids", Tensor.arange(10));
            weights.put("cls.predictions.bias", Tensor.ones(VOCABULARY));
            Bert model = BertWeights.read(folder(BERT, weights));
            model.eval();
            Tensor features = model.forward(tokens(), Tensor.of(new long[] {0, 0, 0, 0, 1, 1, 1, 1}, 1, 8), null); // (1, 8, C)
            double[][] expected = bert(plain, norm[0], norm[1]);
            assertArrayEquals(flat(expected), features.toDoubleArray(), 1e-4);
            double[][] first = {expected[0]};
            assertArrayEquals(flat(map(plain.linear(first, "pooler.dense", false), Math::tanh)), model.pooled(features).toDoubleArray(), 1e-4);
        }
    }

    @Test
    void shardsAndHalfPrecisionAreReadToo() throws IOException {
        PlainTransformer plain = gpt2();
        folder(GPT2, plain.weights);
        double[] whole = Gpt2Weights.read(folder).eval().forward(tokens()).toDoubleArray();
        Map<String, Tensor> first = new LinkedHashMap<>();
        Map<String, Tensor> second = new LinkedHashMap<>();
        StringBuilder index = new StringBuilder();
        plain.weights.forEach((name, tensor) -> {
            boolean early = first.size() < 10;
            (early ? first : second).put(name, tensor);
            index.append(index.isEmpty() ? "" : ",").append("\"" + name + "\": \"model-0000" + (early ? 1 : 2) + "-of-00002.safetensors\"");
        });
        Files.delete(folder.resolve("model.safetensors"));
        new SafeTensors(first, Map.of()).write(folder.resolve("model-00001-of-00002.safetensors"));
        new SafeTensors(second, Map.of()).write(folder.resolve("model-00002-of-00002.safetensors"));
        Path list = folder.resolve("model.safetensors.index.json");
        Files.writeString(list, "{\"metadata\": {}, \"weight_map\": {" + index + "}}");
        assertArrayEquals(whole, Gpt2Weights.read(folder).eval().forward(tokens()).toDoubleArray());
        Files.writeString(list, Files.readString(list).replace("model-00002", "../model-00002"));
        assertTrue(refused(() -> Gpt2Weights.read(folder)).contains("no name of a file"));

        Map<String, Tensor> halves = new LinkedHashMap<>();
        plain.weights.forEach((name, tensor) -> halves.put(name, tensor.to(DType.F16)));
        assertArrayEquals(whole, Gpt2Weights.read(folder(GPT2, halves)).eval().forward(tokens()).toDoubleArray(), 0.05);
    }

    @Test
    void whatDoesNotFitIsRefusedAndChangesNothing() throws IOException {
        PlainTransformer plain = gpt2();
        Gpt model = new Gpt(new Gpt.Config(VOCABULARY, 10, LAYERS, HEADS, C, 0));
        double[] before = model.eval().forward(tokens()).toDoubleArray();
        Map<String, Tensor> weights = new LinkedHashMap<>(plain.weights);
        weights.remove("ln_f.bias");
        assertEquals("Gpt: checkpoint tensor ln_f.bias is missing", refused(() -> Gpt2Weights.load(model, weights)));
        weights.put("ln_f.bias", Tensor.ones(C + 1));
        assertEquals("Gpt: checkpoint tensor ln_f.bias is f32(9), expected are numbers of shape (8)",
                refused(() -> Gpt2Weights.load(model, weights)));
        weights.put("ln_f.bias", Tensor.ones(C));
        weights.put("h.2.ln_1.weight", Tensor.ones(C));
        assertTrue(refused(() -> Gpt2Weights.load(model, weights)).contains("h.2.ln_1.weight has no place"));
        assertArrayEquals(before, model.forward(tokens()).toDoubleArray());

        folder(GPT2, plain.weights);
        assertTrue(refused(() -> BertWeights.read(folder)).contains("model_type is 'gpt2'"));
        for (String[] wrong : new String[][] {{"\"n_layer\": 2", "\"n_layer\": -2", "n_layer is -2"},
            {"\"n_layer\": 2", "\"n_layer\": 1e9", "n_layer"}, {"\"n_head\": 2,", "", "n_head"}, {"gelu_new", "relu", "relu"},
            {"\"n_inner\": null", "\"n_inner\": 9", "n_inner"}, {"{", "[", "config.json"}}) {
            Files.writeString(folder.resolve("config.json"), GPT2.replace(wrong[0], wrong[1]));
            assertTrue(refused(() -> Gpt2Weights.read(folder)).contains(wrong[2]), wrong[2]);
        }
        Files.delete(folder.resolve("config.json"));
        assertTrue(refused(() -> Gpt2Weights.read(folder)).contains("cannot be read"));
    }

    private static String refused(org.junit.jupiter.api.function.Executable import_) {
        return assertThrows(CheckpointException.class, import_).getMessage();
    }
}
