// The decoder's unit of the first transformer: it looks back at what was written, then over at what was read.
package dev.heddle.layers;

import dev.heddle.engine.Activations;
import dev.heddle.engine.Tensor;
import java.util.function.UnaryOperator;

/**
 * {@code (B, T, C)} and a memory {@code (B, S, C)} to {@code (B, T, C)} (Vaswani et al., 2017): causal attention to itself, attention
 * to the memory, a feed-forward network with ReLU; each added to its input, then normalised.
 */
public final class TransformerDecoderLayer extends Layer {
    private final MultiHeadAttention attention;
    private final LayerNorm norm1;
    private final MultiHeadAttention cross;
    private final LayerNorm norm2;
    private final FeedForward feedForward;
    private final LayerNorm norm3;
    private final Dropout dropout;

    /** What the layer remembers while text is generated: the positions written so far, and the memory. */
    record Cache(KeyValueCache self, KeyValueCache memory) {}

    /**
     * A layer with a hidden layer of {@code hidden} features.
     *
     * @param dropout in training, of what is added to the input
     */
    public TransformerDecoderLayer(int dim, int heads, int hidden, double dropout) {
        attention = child("attention", new MultiHeadAttention(dim, heads, true));
        norm1 = child("norm1", new LayerNorm(dim));
        cross = child("cross_attention", new MultiHeadAttention(dim, heads, false));
        norm2 = child("norm2", new LayerNorm(dim));
        feedForward = child("feed_forward", new FeedForward(dim, hidden, Activations::relu));
        norm3 = child("norm3", new LayerNorm(dim));
        this.dropout = child("dropout", new Dropout(dropout));
    }

    /** @throws UnsupportedOperationException always: the layer needs a memory */
    @Override
    public Tensor forward(Tensor x) {
        throw new UnsupportedOperationException("transformer decoder layer: needs a memory");
    }

    /**
     * The layer's output.
     *
     * @param lengths {@code I32 (B)}, how many positions of each memory count; null for all
     */
    public Tensor forward(Tensor x, Tensor memory, Tensor lengths) {
        return forward(x, attention::forward, y -> cross.forward(y, memory, lengths));
    }

    /** A cache for a memory and no position yet. */
    Cache cache(Tensor memory) {
        return new Cache(new KeyValueCache(), cross.remember(memory));
    }

    /** New positions behind those in a cache, which gets theirs added. */
    Tensor forward(Tensor x, Cache cache, Tensor lengths) {
        return forward(x, y -> attention.forward(y, cache.self), y -> cross.recall(y, cache.memory, lengths));
    }

    private Tensor forward(Tensor x, UnaryOperator<Tensor> lookBack, UnaryOperator<Tensor> lookOver) {
        Tensor h = norm1.forward(x.add(dropout.forward(lookBack.apply(x)))); // (B, T, C)
        h = norm2.forward(h.add(dropout.forward(lookOver.apply(h))));
        return norm3.forward(h.add(dropout.forward(feedForward.forward(h))));
    }
}
