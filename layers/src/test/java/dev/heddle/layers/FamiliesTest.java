// Llama, the encoder-decoder transformer and the vision transformer: what they may see, what they remember, that they learn.
package dev.heddle.layers;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.heddle.engine.Functional;
import dev.heddle.engine.Generator;
import dev.heddle.engine.Gradients;
import dev.heddle.engine.ShapeException;
import dev.heddle.engine.Tensor;
import dev.heddle.engine.Variable;
import dev.heddle.testing.NoLeaks;
import java.util.Arrays;
import java.util.List;
import java.util.function.Supplier;
import org.junit.jupiter.api.Test;

@NoLeaks
class FamiliesTest {
    private static final int V = 11;
    private static final long[] TOKENS = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3};

    /** Weights at which outputs differ clearly, in evaluation mode. */
    private static <L extends Layer> L scattered(L model) {
        for (Variable p : model.parameters()) {
            p.set(p.value().add(Init.normal(0, 0.3, p.shape().dims())));
        }
        Variable.settle(model.parameters());
        model.eval();
        return model;
    }

    private static Llama llama(boolean tied) {
        Init.seed(5);
        return scattered(new Llama(new Llama.Config(V, 12, 2, 4, 2, 8, 12, 100, 1e-5, tied)));
    }

    private static Transformer transformer() {
        Init.seed(6);
        return scattered(new Transformer(new Transformer.Config(V, 12, 2, 2, 8, 16, 0.1)));
    }

    private static Tensor row(long... tokens) {
        return Tensor.of(tokens, 1, tokens.length);
    }

    /** Trains by plain descent; gives the last loss. */
    private static double descend(Layer model, double rate, int steps, Supplier<Tensor> lossOf) {
        double last = 0;
        for (int step = 0; step < steps; step++) {
            Tensor loss = lossOf.get();
            Gradients gradients = loss.backward();
            for (Variable p : model.parameters()) {
                p.set(p.value().sub(gradients.get(p).mul(rate)));
            }
            Variable.settle(model.parameters());
            last = loss.item();
        }
        return last;
    }

    @Test
    void llamaDoesNotSeeTheFuture() {
        Llama model = llama(false);
        double[] before = model.forward(row(TOKENS)).toDoubleArray();
        for (int changed = 1; changed < TOKENS.length; changed++) {
            long[] other = TOKENS.clone();
            other[changed] = (other[changed] + 1) % V;
            double[] after = model.forward(row(other)).toDoubleArray();
            assertArrayEquals(Arrays.copyOf(before, changed * V), Arrays.copyOf(after, changed * V), "token " + changed);
            assertTrue(!Arrays.equals(before, after), "token " + changed + " has no effect at all");
        }
    }

    @Test
    void llamasCacheGivesTheSameLogits() {
        Llama model = llama(true);
        double[] whole = model.forward(row(TOKENS)).toDoubleArray();
        for (int[] pieces : List.of(new int[] {1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, new int[] {4, 1, 5}, new int[] {3, 3, 4})) {
            List<KeyValueCache> caches = model.caches();
            int start = 0;
            for (int n : pieces) {
                Tensor part = model.forward(row(Arrays.copyOfRange(TOKENS, start, start + n)), caches);
                assertArrayEquals(Arrays.copyOfRange(whole, start * V, (start + n) * V), part.toDoubleArray(), 1e-5, "from " + start);
                caches.forEach(KeyValueCache::settle);
                start += n;
            }
        }
        IllegalArgumentException e = assertThrows(IllegalArgumentException.class, () -> model.forward(row(new long[13])));
        assertTrue(e.getMessage().contains("13"), e.getMessage());
    }

    @Test
    void llamaLearnsByHeart() {
        Init.seed(2);
        Llama model = new Llama(new Llama.Config(V, 10, 1, 2, 1, 16, 24, 10_000, 1e-5, true));
        Tensor x = row(Arrays.copyOf(TOKENS, 9));
        Tensor y = row(Arrays.copyOfRange(TOKENS, 1, 10));
        assertEquals(Math.log(V), model.loss(x, y).item(), 0.1, "at first all tokens are equally likely");
        double last = descend(model, 0.5, 150, () -> model.loss(x, y));
        assertTrue(last < 0.2, "loss " + last);
    }

    private static long llamaParameters(Llama.Config c) {
        long d = c.dim();
        long block = 2 * d * d + 2 * d * (d / c.heads() * c.keyHeads()) + 3 * d * c.hidden() + 2 * d;
        return c.vocabulary() * d * (c.tied() ? 1 : 2) + c.layers() * block + d;
    }

    /** As published. */
    @Test
    void sizesByName() {
        Llama small = llama(true);
        assertEquals(small.parameterCount(), llamaParameters(small.config()));
        assertEquals(15_191_712, llamaParameters(Llama.config("tinystories-15m")));
        assertEquals(1_100_048_384, llamaParameters(Llama.config("tinyllama-1.1b")));
        assertEquals(6_738_415_616L, llamaParameters(Llama.config("llama-2-7b")));
        assertEquals(8_030_261_248L, llamaParameters(Llama.config("llama-3-8b")));
        assertEquals(5_717_416, VisionTransformer.named("vit-tiny").parameterCount());
        assertThrows(IllegalArgumentException.class, () -> Llama.named("llama"));
        assertThrows(IllegalArgumentException.class, () -> VisionTransformer.named("vit"));
        assertThrows(IllegalArgumentException.class, () -> Transformer.named("transformer"));
    }

    @Test
    void theDecoderSeesAllOfTheSourceAndNothingOfTheFuture() {
        Transformer model = transformer();
        Tensor source = row(7, 1, 8, 2, 8);
        Tensor lengths = Tensor.of(new int[] {4}, 1);
        double[] before = model.forward(source, lengths, row(TOKENS)).toDoubleArray();
        for (int changed = 1; changed < TOKENS.length; changed++) {
            long[] other = TOKENS.clone();
            other[changed] = (other[changed] + 1) % V;
            double[] after = model.forward(source, lengths, row(other)).toDoubleArray();
            assertArrayEquals(Arrays.copyOf(before, changed * V), Arrays.copyOf(after, changed * V), "token " + changed);
        }
        for (int changed = 0; changed < 5; changed++) {
            long[] other = {7, 1, 8, 2, 8};
            other[changed] = 9;
            double[] after = model.forward(row(other), lengths, row(TOKENS)).toDoubleArray();
            for (int t = 0; t < TOKENS.length; t++) {
                boolean same = Arrays.equals(before, t * V, (t + 1) * V, after, t * V, (t + 1) * V);
                assertEquals(changed == 4, same, "source token " + changed + " (the last is padding), position " + t);
            }
        }
    }

    /** One token at a time with caches, against whole decodings of what was written so far. */
    @Test
    void generationEqualsDecodingFromTheStart() {
        Transformer model = transformer();
        Tensor source = Tensor.of(new long[] {7, 1, 8, 2, 3, 1, 0, 0}, 2, 4);
        Tensor lengths = Tensor.of(new int[] {4, 2}, 2);
        List<long[]> texts = model.generate(source, lengths, 1, -1, 8);
        Tensor memory = model.encode(source, lengths);
        for (int b = 0; b < 2; b++) {
            long[] text = {1};
            for (int t = 0; t < 8; t++) {
                Tensor logits = model.decode(row(text), memory.slice(0, b, b + 1), lengths.slice(0, b, b + 1)); // (1, t + 1, V)
                long next = logits.select(1, t).argmax(1).toLongArray()[0];
                assertEquals(next, texts.get(b)[t], "text " + b + ", token " + t);
                text = Arrays.copyOf(text, t + 2);
                text[t + 1] = next;
            }
        }
        long end = texts.get(0)[3];
        long[] ended = model.generate(source.slice(0, 0, 1), lengths.slice(0, 0, 1), 1, end, 8).getFirst();
        int first = 0;
        while (texts.get(0)[first] != end) {
            first++;
        }
        assertArrayEquals(Arrays.copyOf(texts.get(0), first), ended, "up to the end");
    }

    @Test
    void theTransformerLearnsToReverse() {
        Init.seed(3);
        Transformer model = new Transformer(new Transformer.Config(V, 8, 1, 2, 16, 32, 0));
        Tensor source = Tensor.of(new long[] {3, 4, 5, 6, 9, 0, 8, 3, 10}, 3, 3);
        Tensor lengths = Tensor.of(new int[] {3, 2, 3}, 3);
        Tensor target = Tensor.of(new long[] {1, 5, 4, 3, 1, 9, 6, 0, 1, 10, 3, 8}, 3, 4);
        Tensor next = Tensor.of(new long[] {5, 4, 3, 2, 9, 6, 2, -1, 10, 3, 8, 2}, 3, 4);
        double last = descend(model, 0.1, 150, () -> model.loss(source, lengths, target, next));
        double least = -(0.9 + 0.1 / V) * Math.log(0.9 + 0.1 / V) - 0.1 * (V - 1) / V * Math.log(0.1 / V); // entropy of smoothed labels
        assertTrue(last < least + 0.3 && last > least, "loss " + last + ", least " + least);
        List<long[]> texts = model.generate(source, lengths, 1, 2, 6);
        assertArrayEquals(new long[] {5, 4, 3}, texts.get(0));
        assertArrayEquals(new long[] {9, 6}, texts.get(1));
        assertArrayEquals(new long[] {10, 3, 8}, texts.get(2));
    }

    @Test
    void sinusoidsByTheFormula() {
        double[] waves = new SinusoidalPositions(9, 6).forward(Tensor.zeros(1, 4, 6), 5).toDoubleArray();
        for (int t = 0; t < 4; t++) {
            for (int i = 0; i < 3; i++) {
                double angle = (t + 5) / Math.pow(10_000, i / 3.0);
                assertEquals(Math.sin(angle), waves[t * 6 + 2 * i], 1e-6);
                assertEquals(Math.cos(angle), waves[t * 6 + 2 * i + 1], 1e-6);
            }
        }
        assertThrows(IllegalArgumentException.class, () -> new SinusoidalPositions(3, 2).forward(Tensor.zeros(1, 4, 2)));
    }

    @Test
    void theVisionTransformerLearnsWhereALightIs() {
        Init.seed(4);
        VisionTransformer model = new VisionTransformer(new VisionTransformer.Config(8, 4, 1, 4, 1, 2, 16, 32, 0));
        float[] pixels = new float[4 * 64];
        for (int n = 0; n < 4; n++) { // in one of four corners
            pixels[n * 64 + n / 2 * 7 * 8 + n % 2 * 7] = 3;
        }
        Tensor x = Tensor.of(pixels, 4, 1, 8, 8);
        Tensor y = Tensor.arange(4);
        double last = descend(model, 0.1, 150, () -> Functional.crossEntropy(model.forward(x), y, -100, 0).mean());
        assertTrue(last < 0.1, "loss " + last);
        assertArrayEquals(new long[] {4, 5, 16}, model.features(x).shape().dims());
        assertThrows(ShapeException.class, () -> model.forward(Tensor.zeros(1, 1, 8, 9)));
        assertThrows(IllegalArgumentException.class, () -> new VisionTransformer.Config(8, 3, 1, 4, 1, 2, 16, 32, 0));
    }

    @Test
    void attentionOptions() {
        Init.seed(8);
        MultiHeadAttention attention = new MultiHeadAttention(8, 4, 2, false, false, 0.5, null);
        assertEquals(8 * 8 * 2 + 8 * 8, attention.parameterCount(), "no biases");
        Tensor x = new Generator(1).randn(2, 5, 8).eval();
        assertTrue(attention.forward(x).sub(attention.forward(x)).abs().max().item() > 1e-3, "dropout differs from call to call");
        attention.eval();
        Tensor memory = new Generator(2).randn(2, 6, 8).eval();
        Tensor lengths = Tensor.of(new int[] {6, 3}, 2).eval();
        Tensor seen = Tensor.arange(6).lt(lengths.to(dev.heddle.engine.DType.I64).reshape(2, 1, 1, 1)); // (2, 1, 1, 6)
        double[] expected = attention.forward(x, memory, lengths).toDoubleArray();
        assertArrayEquals(expected, attention.forward(x, memory, null, seen).toDoubleArray(), 1e-6, "a mask says what lengths say");
        assertArrayEquals(expected, attention.recall(x, attention.remember(memory), lengths).toDoubleArray(), 1e-6, "remembered");
        MultiHeadAttention causal = new MultiHeadAttention(8, 2, true);
        MultiHeadAttention masked = new MultiHeadAttention(8, 2, false);
        causal.state().forEach((name, variable) -> masked.state().get(name).set(variable.value()));
        Tensor past = Tensor.arange(5).unsqueeze(1).ge(Tensor.arange(5)); // (5, 5)
        assertArrayEquals(causal.forward(x).toDoubleArray(), masked.forward(x, x, null, past).toDoubleArray(), 1e-6);
    }
}
