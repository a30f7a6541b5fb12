// The encoder: padding changes nothing, every token sees every other, and it learns.
package dev.heddle.layers;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.heddle.engine.Functional;
import dev.heddle.engine.Generator;
import dev.heddle.engine.Gradients;
import dev.heddle.engine.Tensor;
import dev.heddle.engine.Variable;
import dev.heddle.testing.NoLeaks;
import java.util.Arrays;
import org.junit.jupiter.api.Test;

@NoLeaks
class BertTest {
    private static final int C = 8;

    private static Bert model() {
        Init.seed(5);
        Bert model = new Bert(new Bert.Config(11, 12, 2, 2, 2, C, 16, 0.1, true));
        for (Variable p : model.parameters()) {
            p.set(p.value().add(Init.normal(0, 0.3, p.shape().dims())));
        }
        Variable.settle(model.parameters());
        model.eval();
        return model;
    }

    @Test
    void paddingChangesNothing() {
        Bert model = model();
        Tensor alone = Tensor.of(new long[] {3, 1, 4, 1}, 1, 4);
        double[] expected = model.forward(alone).toDoubleArray(); // (1, 4, C)
        Tensor lengths = Tensor.of(new int[] {4, 6, 1}, 3);
        for (long filler : new long[] {0, 9}) {
            Tensor x = Tensor.of(new long[] {3, 1, 4, 1, filler, filler, 2, 7, 1, 8, 2, 8, 5, filler, filler, filler, filler, filler}, 3, 6);
            double[] features = model.forward(x, lengths).toDoubleArray(); // (3, 6, C)
            assertArrayEquals(expected, Arrays.copyOf(features, 4 * C), 1e-5);
            double[] vectors = model.embed(x, lengths).toDoubleArray(); // (3, C)
            double norm = 0;
            for (int c = 0; c < C; c++) {
                double mean = (expected[c] + expected[C + c] + expected[2 * C + c] + expected[3 * C + c]) / 4;
                norm += mean * mean;
            }
            for (int c = 0; c < C; c++) {
                double mean = (expected[c] + expected[C + c] + expected[2 * C + c] + expected[3 * C + c]) / 4;
                assertEquals(mean / Math.sqrt(norm), vectors[c], 1e-5);
            }
            assertEquals(1, Arrays.stream(vectors, 2 * C, 3 * C).map(v -> v * v).sum(), 1e-5);
        }
        IllegalArgumentException e = assertThrows(IllegalArgumentException.class, () -> model.forward(Tensor.of(new long[13], 1, 13)));
        assertTrue(e.getMessage().contains("13"), e.getMessage());
    }

    @Test
    void everyTokenAndItsSegmentCount() {
        Bert model = model();
        long[] tokens = {3, 1, 4, 1, 5};
        double[] before = model.forward(Tensor.of(tokens, 1, 5)).toDoubleArray();
        assertArrayEquals(before, model.forward(Tensor.of(tokens, 1, 5), Tensor.of(new long[5], 1, 5), Tensor.of(new int[] {5}, 1)).toDoubleArray(),
                1e-6, "without segments all are 0");
        for (int t = 0; t < 5; t++) {
            long[] changed = tokens.clone();
            changed[t] = 7;
            assertAllDiffer(before, model.forward(Tensor.of(changed, 1, 5)).toDoubleArray());
            long[] segments = new long[5];
            segments[t] = 1;
            assertAllDiffer(before, model.forward(Tensor.of(tokens, 1, 5), Tensor.of(segments, 1, 5), null).toDoubleArray());
        }
    }

    /** The features of each position, not only of the changed one. */
    private static void assertAllDiffer(double[] before, double[] after) {
        for (int t = 0; t < before.length / C; t++) {
            assertFalse(Arrays.equals(before, t * C, (t + 1) * C, after, t * C, (t + 1) * C), "position " + t);
        }
    }

    @Test
    void theNormsStandBehindOrInFront() {
        Init.seed(1);
        Tensor x = new Generator(2).randn(2, 3, C).mul(5).add(1);
        for (boolean first : new boolean[] {false, true}) {
            TransformerBlock block = new TransformerBlock(new LayerNorm(C), new MultiHeadAttention(C, 2, false), new LayerNorm(C),
                    new FeedForward(C, 16, e -> e.max(e.literal(0))), 0, first);
            double[] y = block.forward(x).toDoubleArray();
            for (int t = 0; t < 6; t++) {
                double mean = Arrays.stream(y, t * C, (t + 1) * C).sum() / C;
                double square = Arrays.stream(y, t * C, (t + 1) * C).map(v -> v * v).sum() / C;
                assertEquals(!first, Math.abs(mean) < 1e-5 && Math.abs(square - 1) < 1e-3, "mean " + mean + ", mean square " + square);
            }
        }
    }

    @Test
    void sizesByName() {
        assertEquals(22_713_216 - (384 * 384 + 384), Bert.named("minilm-l6").parameterCount(), "as published, less the pooler");
        assertThrows(IllegalArgumentException.class, () -> Bert.named("bert"));
        Bert none = new Bert(new Bert.Config(11, 12, 2, 1, 2, C, 16, 0, false));
        assertThrows(IllegalStateException.class, () -> none.pooled(none.forward(Tensor.of(new long[] {1}, 1, 1))));
    }

    @Test
    void learnsLabelsByHeart() {
        Init.seed(2);
        Bert model = new Bert(new Bert.Config(11, 6, 2, 1, 2, C, 16, 0, true));
        Tensor x = Tensor.of(new long[] {1, 2, 3, 4, 4, 3, 2, 1, 1, 5, 0, 0, 5, 1, 0, 0}, 4, 4);
        Tensor lengths = Tensor.of(new int[] {4, 4, 2, 2}, 4);
        Tensor labels = Tensor.of(new long[] {0, 1, 2, 3}, 4); // the same tokens in another order: positions must tell
        double last = 0;
        for (int step = 0; step < 200; step++) {
            Tensor logits = model.pooled(model.forward(x, lengths)).slice(1, 0, 4).mul(5); // (4, 4)
            Tensor loss = Functional.crossEntropy(logits, labels, -100, 0).mean();
            Gradients gradients = loss.backward();
            for (Variable p : model.parameters()) {
                p.set(p.value().sub(gradients.get(p).mul(0.1)));
            }
            Variable.settle(model.parameters());
            last = loss.item();
        }
        assertTrue(last < 0.1, "loss " + last);
    }
}
