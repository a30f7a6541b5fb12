// The language model and its attention: what they may see, and that caching changes nothing.
package dev.heddle.layers;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.heddle.engine.DType;
import dev.heddle.engine.Generator;
import dev.heddle.engine.Gradients;
import dev.heddle.engine.Tensor;
import dev.heddle.engine.Variable;
import dev.heddle.testing.NoLeaks;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

@NoLeaks
class GptTest {
    private static final long[] TOKENS = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3};

    private static Gpt model() {
        Init.seed(5);
        Gpt model = new Gpt(new Gpt.Config(11, 12, 2, 2, 8, 0));
        for (Variable p : model.parameters()) { // at first nearly all logits are equal: make them differ
            p.set(p.value().add(Init.normal(0, 0.3, p.shape().dims())));
        }
        Variable.settle(model.parameters());
        model.eval();
        return model;
    }

    private static double[] logits(Gpt model, long... tokens) {
        return model.forward(Tensor.of(tokens, 1, tokens.length)).toDoubleArray(); // (1, T, 11)
    }

    @Test
    void aPredictionDoesNotSeeTheFuture() {
        Gpt model = model();
        double[] before = logits(model, TOKENS);
        for (int changed = 1; changed < TOKENS.length; changed++) {
            long[] other = TOKENS.clone();
            other[changed] = (other[changed] + 1) % 11;
            double[] after = logits(model, other);
            assertArrayEquals(Arrays.copyOf(before, changed * 11), Arrays.copyOf(after, changed * 11), "token " + changed);
            assertTrue(!Arrays.equals(before, after), "token " + changed + " has no effect at all");
        }
    }

    @Test
    void cachedPositionsGiveTheSameLogits() {
        Gpt model = model();
        double[] whole = logits(model, TOKENS);
        for (int[] pieces : List.of(new int[] {1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, new int[] {4, 1, 5}, new int[] {3, 3, 4})) {
            List<KeyValueCache> caches = model.caches();
            int start = 0;
            for (int n : pieces) {
                Tensor part = model.forward(Tensor.of(Arrays.copyOfRange(TOKENS, start, start + n), 1, n), caches);
                assertArrayEquals(Arrays.copyOfRange(whole, start * 11, (start + n) * 11), part.toDoubleArray(), 1e-5,
                        "positions from " + start);
                caches.forEach(KeyValueCache::settle);
                start += n;
            }
        }
        IllegalArgumentException e = assertThrows(IllegalArgumentException.class, () -> logits(model, new long[13]));
        assertTrue(e.getMessage().contains("13"), e.getMessage());
    }

    @Test
    void learnsASequenceByHeart() {
        Init.seed(2);
        Gpt model = new Gpt(new Gpt.Config(11, 10, 1, 2, 16, 0));
        Tensor x = Tensor.of(Arrays.copyOf(TOKENS, 9), 1, 9);
        Tensor y = Tensor.of(Arrays.copyOfRange(TOKENS, 1, 10), 1, 9);
        double first = 0;
        double last = 0;
        for (int step = 0; step < 150; step++) {
            Tensor loss = model.loss(x, y);
            Gradients gradients = loss.backward();
            for (Variable p : model.parameters()) {
                p.set(p.value().sub(gradients.get(p).mul(0.5)));
            }
            Variable.settle(model.parameters());
            last = loss.item();
            first = step == 0 ? last : first;
        }
        assertEquals(Math.log(11), first, 0.1, "at first all tokens are equally likely");
        assertTrue(last < 0.2, "loss " + last);
    }

    /** The token embedding is used twice, below and above: its gradient must be the sum, which finite differences see. */
    @Test
    void gradientsOfAllParametersAgreeWithFiniteDifferences() {
        Gpt model = model();
        model.to(DType.F64);
        Tensor x = Tensor.of(Arrays.copyOf(TOKENS, 9), 1, 9);
        Tensor y = Tensor.of(Arrays.copyOfRange(TOKENS, 1, 10), 1, 9);
        Gradients gradients = model.loss(x, y).backward();
        Map<String, Tensor> slopes = new LinkedHashMap<>();
        model.namedParameters().forEach((name, p) -> slopes.put(name, gradients.get(p).mul(direction(name, p)).sum()));
        Tensor.eval(slopes.values().toArray(new Tensor[0])); // before parameters move
        model.namedParameters().forEach((name, p) -> {
            Tensor direction = direction(name, p);
            double slope = slopes.get(name).item();
            Tensor at = p.value().map(e -> e).eval();
            double[] losses = new double[2];
            for (int i = 0; i < 2; i++) {
                p.set(at.add(direction.mul(i == 0 ? 1e-6 : -1e-6)));
                losses[i] = model.loss(x, y).item();
            }
            p.set(at);
            Variable.settle(List.of(p));
            assertEquals((losses[0] - losses[1]) / 2e-6, slope, 1e-6 * Math.max(1, Math.abs(slope)), name);
        });
    }

    private static Tensor direction(String name, Variable p) {
        return new Generator(name.hashCode()).randn(p.shape().dims()).to(DType.F64).eval();
    }

    @Test
    void sizesByName() {
        assertThrows(IllegalArgumentException.class, () -> Gpt.named("gpt3"));
        Gpt.Config small = new Gpt.Config(11, 12, 2, 2, 8, 0);
        long block = 2 * 2 * 8 + (8 * 8 + 8) * 4 + (8 * 32 + 32) + (32 * 8 + 8); // two norms, q, k, v, out, up, down
        assertEquals(11 * 8 + 12 * 8 + 2 * block + 2 * 8, new Gpt(small).parameterCount());
    }

    @Test
    void rotationsDependOnDistancesAlone() {
        RotaryEmbedding rotary = new RotaryEmbedding(4, 20, 10_000);
        Tensor q = new Generator(1).randn(1, 1, 1, 4);
        Tensor k = new Generator(2).randn(1, 1, 1, 4);
        double[] products = new double[3];
        for (int i = 0; i < 3; i++) {
            products[i] = rotary.rotate(q, 3 + 5 * i).mul(rotary.rotate(k, 1 + 5 * i)).sum().item();
        }
        assertEquals(products[0], products[1], 1e-5);
        assertEquals(products[0], products[2], 1e-5);
        assertTrue(Math.abs(products[0] - rotary.rotate(q, 3).mul(rotary.rotate(k, 2)).sum().item()) > 1e-3, "the distance matters");
        assertArrayEquals(q.toDoubleArray(), rotary.rotate(q, 0).toDoubleArray(), "position 0 is not turned");
    }

    @Test
    void groupedHeadsShareKeys() {
        Init.seed(3);
        MultiHeadAttention grouped = new MultiHeadAttention(8, 4, 2, true, true, 0, null);
        MultiHeadAttention full = new MultiHeadAttention(8, 4, true);
        full.query().weight().set(grouped.query().weight().value());
        full.query().bias().set(grouped.query().bias().value());
        full.out().weight().set(grouped.out().weight().value());
        full.out().bias().set(grouped.out().bias().value());
        // each key head of two features twice, for keys and values
        full.keyValue().weight().set(grouped.keyValue().weight().value().reshape(2, 2, 1, 2, 8).expand(2, 2, 2, 2, 8).reshape(16, 8));
        full.keyValue().bias().set(grouped.keyValue().bias().value().reshape(2, 2, 1, 2).expand(2, 2, 2, 2).reshape(16));
        Variable.settle(full.parameters());
        Tensor x = new Generator(4).randn(2, 5, 8);
        assertArrayEquals(full.forward(x).toDoubleArray(), grouped.forward(x).toDoubleArray(), 1e-5);
        assertThrows(IllegalArgumentException.class, () -> new MultiHeadAttention(8, 3, true));
    }
}
