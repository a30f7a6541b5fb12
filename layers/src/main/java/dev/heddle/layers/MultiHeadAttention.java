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
    private final double dropout;
    private final Linear query;
    private final Linear keyValue;
    private final Linear out;
    private final RotaryEmbedding rotary;

    /** Self-attention with biases, all heads with keys of their own. */
    public MultiHeadAttention(int dim, int heads, boolean causal) {
        this(dim, heads, heads, causal, true, 0, null);
    }

    /**
     * All options.
     *
     * @param keyHeads heads of keys and values; divides {@code heads}, which divides {@code dim}
     * @param causal whether a position sees only itself and those before it
     * @param bias whether the projections have biases
     * @param dropout in training, the probability that a position misses one that it sees
     * @param rotary turns queries and keys by their positions, or null
     * @throws IllegalArgumentException if the heads do not divide as they must
     */
    public MultiHeadAttention(int dim, int heads, int keyHeads, boolean causal, boolean bias, double dropout,
            RotaryEmbedding rotary) {
        if (heads < 1 || keyHeads < 1 || dim % heads != 0 || heads % keyHeads != 0) {
            throw new IllegalArgumentException("attention: " + dim + " features, " + heads + " heads, " + keyHeads + " key heads");
        }
        this.heads = heads;
        this.keyHeads = keyHeads;
        this.causal = causal;
        this.dropout = dropout;
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
        return forward(x, x);
    }

    /** Positions of {@code x (B, T, C)} gather from {@code memory (B, S, C)}. */
    public Tensor forward(Tensor x, Tensor memory) {
        return forward(x, memory, null);
    }

    /**
     * The same where only the first {@code lengths[b]} positions of a memory count.
     *
     * @param lengths {@code I32 (B)}, or null if all count
     */
    public Tensor forward(Tensor x, Tensor memory, Tensor lengths) {
        return forward(x, memory, lengths, null);
    }

    /**
     * The same with something added to the scores, or with a mask.
     *
     * @param bias broadcasts to {@code (B, H, T, S)}, see {@link Functional#scaledDotProductAttention(Tensor, Tensor, Tensor, Tensor,
     *     Tensor, boolean, double, dev.heddle.engine.Generator)}
     */
    public Tensor forward(Tensor x, Tensor memory, Tensor lengths, Tensor bias) {
        Tensor[] kv = keysAndValues(memory, 0);
        return attend(queries(x, 0), kv[0], kv[1], lengths, bias, causal);
    }

    /**
     * Self-attention of new positions {@code x (B, T, C)} behind those in a cache, which gets theirs added.
     *
     * @param cache of this layer
     */
    public Tensor forward(Tensor x, KeyValueCache cache) {
        long past = cache.length();
        Tensor[] kv = keysAndValues(x, past);
        Tensor[] all = cache.add(kv[0], kv[1]); // (B, G, past + T, D)
        Tensor q = queries(x, past);
        if (past == 0 || x.dim(1) == 1) { // one position sees all there are
            return attend(q, all[0], all[1], null, null, causal && past == 0);
        }
        Tensor seen = Tensor.arange(x.dim(1)).add(past).unsqueeze(1).ge(Tensor.arange(past + x.dim(1))); // (T, past + T)
        return attend(q, all[0], all[1], null, causal ? seen : null, false);
    }

    /** Keys and values of {@code memory (B, S, C)}, for {@link #recall}; no gradient flows through them. */
    public KeyValueCache remember(Tensor memory) {
        Tensor[] kv = keysAndValues(memory, 0);
        KeyValueCache cache = new KeyValueCache();
        cache.add(kv[0], kv[1]);
        return cache;
    }

    /**
     * What {@link #forward(Tensor, Tensor, Tensor)} gives for the memory that a cache was made of.
     *
     * @param lengths {@code I32 (B)}, or null if all count
     */
    public Tensor recall(Tensor x, KeyValueCache memory, Tensor lengths) {
        return attend(queries(x, 0), memory.keys(), memory.values(), lengths, null, causal);
    }

    private Tensor queries(Tensor x, long start) {
        Tensor q = split(query.forward(x), heads); // (B, H, T, D)
        return rotary == null ? q : rotary.rotate(q, start);
    }

    private Tensor[] keysAndValues(Tensor memory, long start) {
        Tensor kv = keyValue.forward(memory); // (B, S, 2 G D)
        long half = kv.dim(-1) / 2;
        Tensor k = split(kv.slice(2, 0, half), keyHeads); // (B, G, S, D)
        Tensor v = split(kv.slice(2, half, 2 * half), keyHeads); // (B, G, S, D)
        return new Tensor[] {rotary == null ? k : rotary.rotate(k, start), v};
    }

    private Tensor attend(Tensor q, Tensor k, Tensor v, Tensor lengths, Tensor bias, boolean causal) {
        double missed = training() ? dropout : 0;
        Tensor y = Functional.scaledDotProductAttention(q, k, v, lengths, bias, causal, missed, Init.generator());
        return out.forward(y.permute(0, 2, 1, 3).reshape(y.dim(0), y.dim(2), y.dim(1) * y.dim(3))); // (B, H, T, D) -> (B, T, C)
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
