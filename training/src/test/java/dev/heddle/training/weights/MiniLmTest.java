// A real pretrained model: what our Bert computes with its weights is what ONNX Runtime computes from the same file.
package dev.heddle.training.weights;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtSession;
import dev.heddle.engine.Tensor;
import dev.heddle.layers.Bert;
import dev.heddle.testing.NoLeaks;
import dev.heddle.training.text.TokenBatch;
import dev.heddle.training.text.TokenizerJson;
import java.io.InputStream;
import java.nio.LongBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

@NoLeaks
class MiniLmTest {
    private static final int CONTEXT = 512; // the model's limit
    private static final int BATCH = 2048; // tokens
    private static final int C = 384;

    private static final List<String> SENTENCES = List.of("", " ", "\n\t", ".", "a", "I", "The quick brown fox jumps over the lazy dog.",
            "A cat sat on the mat.", "A feline rested on the rug.", "Stock markets fell sharply on Monday.", "How do I reset my password?",
            "I forgot my login credentials.", "Where is the nearest train station?", "E = mc^2", "3.14159 26535 89793", "1,000,000 USD",
            "C++ is not C#", "public static void main(String[] args) { System.out.println(\"hi\"); }", "SELECT * FROM users WHERE id = 7;",
            "https://example.org/a?b=c&d=%20#e", "someone@example.org", "ALL CAPITAL LETTERS", "mIxEd CaSe", "don't can't won't it's",
            "naïve café résumé Ångström", "Zażółć gęślą jaźń", "Ünïcödé ìs fün", "Der Zug fährt um halb acht ab.",
            "Le chat est assis sur le tapis.", "El gato está sentado en la alfombra.", "O gato está sentado no tapete.",
            "Кошка сидит на коврике.", "Η γάτα κάθεται στο χαλί.", "猫坐在垫子上。", "猫はマットの上に座っています。", "고양이가 매트 위에 앉아 있다.",
            "القطة جالسة على السجادة.", "החתול יושב על המחצלת.", "बिल्ली चटाई पर बैठी है।", "แมวนั่งอยู่บนเสื่อ", "Con mèo ngồi trên thảm.",
            "😀 😃 👩‍👩‍👧‍👦 🇪🇺", "\uD83D lone surrogate \uDE00", "zero\u0000byte and \u200Bzero width", "ﬁ ligature ½ ² Ⅷ", "e\u0301 and é",
            "[CLS] [SEP] [MASK] [PAD] [UNK]", "##ing ##ed", "antidisestablishmentarianism pneumonoultramicroscopicsilicovolcanoconiosis",
            "x".repeat(99), "x".repeat(101), "!?!?!?!?!?", "a  b   c    d", "The same the same the same the same the same the same.",
            "One sentence. And another one! And a third? Yes; a fourth: this one.", "word ".repeat(100), "long text of many words ".repeat(102),
            "This text is longer than the model's context, so it is cut off. ".repeat(40), "字".repeat(600));

    @TempDir
    private static Path folder;

    private static Path resource(String name) throws Exception {
        Path file = folder.resolve(name);
        if (!Files.exists(file)) {
            try (InputStream in = MiniLmTest.class.getResourceAsStream("/" + name)) {
                Files.copy(in, file);
            }
        }
        return file;
    }

    @Test
    void embeddingsAreThoseOfOnnxRuntime() throws Exception {
        Path onnx = resource("all-minilm-l6-v2.onnx");
        Bert model = Bert.named("minilm-l6");
        BertWeights.load(model, Onnx.read(onnx));
        model.eval();
        List<int[]> sequences = new ArrayList<>();
        try (TokenizerJson tokenizer = new TokenizerJson(resource("all-minilm-l6-v2-tokenizer.json"), CONTEXT)) {
            SENTENCES.forEach(text -> sequences.add(tokenizer.encode(text)));
        }
        assertArrayEquals(new int[] {101, 102}, sequences.getFirst(), "an empty text is the two tokens around it");
        assertEquals(3, sequences.stream().filter(s -> s.length == CONTEXT).count(), "texts that are cut off");
        sequences.sort((a, b) -> a.length - b.length); // little padding

        double worstCosine = 1;
        double worstDifference = 0;
        double worstFeature = 0;
        try (OrtEnvironment environment = OrtEnvironment.getEnvironment();
                OrtSession session = environment.createSession(onnx.toString(), new OrtSession.SessionOptions())) {
            for (List<int[]> part : batches(sequences)) {
                try (TokenBatch batch = TokenBatch.of(part, CONTEXT, 0);
                        Tensor embedded = model.embed(batch.tokens(), batch.lengths()); // (B, C)
                        Tensor forward = model.forward(batch.tokens(), batch.lengths())) { // (B, T, C)
                    Tensor.eval(embedded, forward); // at once, so that the features are computed once
                    float[] ours = embedded.toFloatArray();
                    float[] features = forward.toFloatArray();
                    for (int b = 0; b < part.size(); b++) {
                        float[][] theirs = run(environment, session, part.get(b)); // (T, C), by itself: without any padding
                        int t = Math.toIntExact(batch.tokens().dim(1));
                        for (int i = 0; i < theirs.length; i++) {
                            worstFeature = Math.max(worstFeature, difference(theirs[i], features, (b * t + i) * C));
                        }
                        float[] expected = embedding(theirs);
                        double cosine = 0;
                        for (int c = 0; c < C; c++) {
                            cosine += (double) expected[c] * ours[b * C + c];
                        }
                        worstCosine = Math.min(worstCosine, cosine);
                        worstDifference = Math.max(worstDifference, difference(expected, ours, b * C));
                    }
                }
            }
        }
        String measured = SENTENCES.size() + " sentences: least cosine " + worstCosine + ", largest difference " + worstDifference
                + ", of features " + worstFeature;
        System.out.println(measured);
        assertTrue(SENTENCES.size() >= 50 && worstCosine >= 0.9999 && worstDifference <= 1e-4 && worstFeature <= 1e-4, measured);
    }

    /** Sequences in order of length, in parts of so many tokens as they have when padded. */
    private static List<List<int[]>> batches(List<int[]> sequences) {
        List<List<int[]>> batches = new ArrayList<>();
        int from = 0;
        for (int to = 1; to <= sequences.size(); to++) {
            if (to == sequences.size() || (to + 1 - from) * sequences.get(to).length > BATCH) {
                batches.add(sequences.subList(from, to));
                from = to;
            }
        }
        return batches;
    }

    private static float[][] run(OrtEnvironment environment, OrtSession session, int[] tokens) throws Exception {
        long[] shape = {1, tokens.length};
        long[] ones = new long[tokens.length];
        Arrays.fill(ones, 1);
        try (OnnxTensor ids = OnnxTensor.createTensor(environment, LongBuffer.wrap(Arrays.stream(tokens).asLongStream().toArray()), shape);
                OnnxTensor mask = OnnxTensor.createTensor(environment, LongBuffer.wrap(ones), shape);
                OnnxTensor segments = OnnxTensor.createTensor(environment, LongBuffer.wrap(new long[tokens.length]), shape);
                OrtSession.Result result = session.run(Map.of("input_ids", ids, "attention_mask", mask, "token_type_ids", segments))) {
            return ((float[][][]) result.get(0).getValue())[0];
        }
    }

    /** The mean of the rows, scaled to length 1. */
    private static float[] embedding(float[][] rows) {
        double[] mean = new double[C];
        double square = 0;
        for (int c = 0; c < C; c++) {
            for (float[] row : rows) {
                mean[c] += row[c] / rows.length;
            }
            square += mean[c] * mean[c];
        }
        float[] unit = new float[C];
        for (int c = 0; c < C; c++) {
            unit[c] = (float) (mean[c] / Math.sqrt(square));
        }
        return unit;
    }

    private static double difference(float[] expected, float[] values, int from) {
        double most = 0;
        for (int c = 0; c < C; c++) {
            most = Math.max(most, Math.abs(expected[c] - values[from + c]));
        }
        return most;
    }
}
