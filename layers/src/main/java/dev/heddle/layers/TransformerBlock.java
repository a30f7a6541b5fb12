// The unit that transformers are stacked from: attention, then a feed-forward network, each added to its input.
package dev.heddle.layers;

import dev.heddle.engine.Activations;
import dev.heddle.engine.Tensor;
import java.util.function.UnaryOperator;

/**
 * {@code (B, T, C) -> (B, T, C)}. With the norms in front, as in GPT-2 (Radford et al., 2019): {@code x += attention(norm1(x))},
 * {@code x += feedForward(norm2(x))}. With the norms behind, as in the first transformer (Vaswani et al., 2017) and BERT:
 * {@code x = norm1(x + attention(x))}, {@code x = norm2(x + feedForward(x))}.
 */
public final class TransformerBlock extends Layer {
    private final Layer norm1;
    private final MultiHeadAttention attention;
    private final Layer norm2;
    private final Layer feedForward;
    private final Dropout dropout;
    private final boolean normFirst;

    /** A block of GPT-2: layer norms in front, and a hidden layer of {@code hidden} features with GELU. */
    public TransformerBlock(int dim, int heads, int hidden, double dropout, boolean causal) {
        this(new LayerNorm(dim), new MultiHeadAttention(dim, heads, causal), new LayerNorm(dim),
                new FeedForward(dim, hidden, Activations::geluTanh), dropout, true);
    }

    /**
     * A block of any parts.
     *
     * @param norm1 at the attention
     * @param norm2 at the feed-forward network
     * @param feedForward {@code (B, T, C) -> (B, T, C)}
     * @param dropout in training, of what is added to the input
     * @param normFirst whether the norms stand in front, not behind
     */
    public TransformerBlock(Layer norm1, MultiHeadAttention attention, Layer norm2, Layer feedForward, double dropout, boolean normFirst) {
        this.norm1 = child("norm1", norm1);
        this.attention = child("attention", attention);
        this.norm2 = child("norm2", norm2);
        this.feedForward = child("feed_forward", feedForward);
        this.dropout = child("dropout", new Dropout(dropout));
        this.normFirst = normFirst;
    }

    @Override
    public Tensor forward(Tensor x) {
        return forward(x, attention::forward);
    }

    /**
     * The same where only the first {@code lengths[b]} positions of a sequence count: the rest is padding.
     *
     * @param lengths {@code I32 (B)}
     */
    public Tensor forward(Tensor x, Tensor lengths) {
        return forward(x, y -> attention.forward(y, y, lengths));
    }

    /** New positions behind those in a cache, which gets theirs added. */
    public Tensor forward(Tensor x, KeyValueCache cache) {
        return forward(x, y -> attention.forward(y, cache));
    }

    private Tensor forward(Tensor x, UnaryOperator<Tensor> attend) {
        return added(added(x, norm1, attend), norm2, feedForward::forward); // (B, T, C)
    }

    private Tensor added(Tensor x, Layer norm, UnaryOperator<Tensor> part) {
        return normFirst ? x.add(dropout.forward(part.apply(norm.forward(x)))) : norm.forward(x.add(dropout.forward(part.apply(x))));
    }
}
