// Attention with several heads: every position gathers from the positions it may see.
package dev.heddle.layers;

import dev.heddle.engine.Functional;
import dev.heddle.engine.Tensor;

/**
 * Self-attention {@code (B, T, C) -> (B, T, C)}, or cross-attention to a memory {@code (B, S, C)} (Vaswani et al., 2017).
 * Heads may share keys and values in groups (Ainslie et al., 2023); positions may be rotary.
 */
public final class MultiHeadAttention extends Layer {
    private final int heads;
    private final int keyHeads;
    private final boolean causal;
    private final Linear query;
    private final Linear keyValue;
    private final Linear out;
    private final RotaryEmbedding rotary;

    /** Self-attention with biases, all heads with keys of their own. */
    public MultiHeadAttention(int dim, int heads, boolean causal) {
        this(dim, heads, heads, causal, true, null);
    }

    /**
     * All options.
     *
     * @param keyHeads heads of keys and values; divides {@code heads}, which divides {@code dim}
     * @param causal whether a position sees only itself and those before it
     * @param rotary turns queries and keys by their positions, or null
     * @throws IllegalArgumentException if the heads do not divide as they must
     */
    public MultiHeadAttention(int dim, int heads, int keyHeads, boolean causal, boolean bias, RotaryEmbedding rotary) {
        if (heads < 1 || keyHeads < 1 || dim % heads != 0 || heads % keyHeads != 0) {
            throw new IllegalArgumentException("attention: " + dim + " features, " + heads + " heads, " + keyHeads + " key heads");
        }
        this.heads = heads;
        this.keyHeads = keyHeads;
        this.causal = causal;
        this.rotary = rotary;
        query = child("query", new Linear(dim, dim, bias));
        keyValue = child("key_value", new Linear(dim, 2 * dim / heads * keyHeads, bias));
        out = child("out", new Linear(dim, dim, bias));
    }

    /** Projection of the queries. */
    public Linear query() {
        return query;
    }

    /** Projection of keys (the first half of the outputs) and values. */
    public Linear keyValue() {
        return keyValue;
    }

    /** Projection of the result. */
    public Linear out() {
        return out;
    }

    @Override
    public Tensor forward(Tensor x) {
        return attend(x, x, null, null);
    }

    /** Positions of {@code x (B, T, C)} gather from {@code memory (B, S, C)}. */
    public Tensor forward(Tensor x, Tensor memory) {
        return attend(x, memory, null, null);
    }

    /**
     * The same where only the first {@code lengths[b]} positions of a memory count.
     *
     * @param lengths {@code I32 (B)}
     */
    public Tensor forward(Tensor x, Tensor memory, Tensor lengths) {
        return attend(x, memory, lengths, null);
    }

    /**
     * Self-attention of new positions {@code x (B, T, C)} behind those in a cache, which gets theirs added.
     *
     * @param cache of this layer
     */
    public Tensor forward(Tensor x, KeyValueCache cache) {
        return attend(x, x, null, cache);
    }

    private Tensor attend(Tensor x, Tensor memory, Tensor lengths, KeyValueCache cache) {
        Tensor q = split(query.forward(x), heads); // (B, H, T, D)
        Tensor kv = keyValue.forward(memory); // (B, S, 2 G D)
        long half = kv.dim(-1) / 2;
        Tensor k = split(kv.slice(2, 0, half), keyHeads); // (B, G, S, D)
        Tensor v = split(kv.slice(2, half, 2 * half), keyHeads); // (B, G, S, D)
        long past = cache == null ? 0 : cache.length();
        if (rotary != null) {
            q = rotary.rotate(q, past);
            k = rotary.rotate(k, past);
        }
        if (cache != null) {
            Tensor[] all = cache.add(k, v);
            k = all[0]; // (B, G, past + T, D)
            v = all[1];
        }
        Tensor y = lengths != null ? Functional.scaledDotProductAttention(q, k, v, lengths, causal)
                : past > 0 ? behind(q, k, v, past) : Functional.scaledDotProductAttention(q, k, v, causal);
        return out.forward(y.permute(0, 2, 1, 3).reshape(x.shape().dims())); // (B, H, T, D) -> (B, T, C)
    }

    /** Queries that stand behind {@code past} keys, and see all of those. */
    private Tensor behind(Tensor q, Tensor k, Tensor v, long past) {
        if (q.dim(2) == 1) {
            return Functional.scaledDotProductAttention(q, k, v, false); // one position sees all there are
        }
        Tensor[] parts = new Tensor[Math.toIntExact(q.dim(2))];
        for (int t = 0; t < parts.length; t++) {
            parts[t] = Functional.scaledDotProductAttention(q.slice(2, t, t + 1), k.slice(2, 0, past + t + 1),
                    v.slice(2, 0, past + t + 1), false);
        }
        return Tensor.concat(2, parts);
    }

    /** {@code (B, T, h D) -> (B, h, T, D)}. */
    private static Tensor split(Tensor x, int heads) {
        return x.reshape(x.dim(0), x.dim(1), heads, x.dim(2) / heads).permute(0, 2, 1, 3);
    }

    @Override
    public String toString() {
        return "MultiHeadAttention(" + heads + " heads" + (keyHeads == heads ? "" : ", " + keyHeads + " of keys") + (causal ? ", causal)" : ")");
    }
}
