// The unit that transformers are stacked from: attention, then a feed-forward network, each added to its input.
package dev.heddle.layers;

import dev.heddle.engine.Activations;
import dev.heddle.engine.Tensor;

/**
 * {@code (B, T, C) -> (B, T, C)} with the norms in front, as in GPT-2 (Radford et al., 2019): {@code x += attention(norm(x))},
 * {@code x += down(gelu(up(norm(x))))}.
 */
public final class TransformerBlock extends Layer {
    private final LayerNorm norm1;
    private final MultiHeadAttention attention;
    private final LayerNorm norm2;
    private final Linear up;
    private final Linear down;
    private final Dropout dropout;

    /** A block with a hidden layer of {@code hidden} features. */
    public TransformerBlock(int dim, int heads, int hidden, double dropout, boolean causal) {
        norm1 = child("norm1", new LayerNorm(dim));
        attention = child("attention", new MultiHeadAttention(dim, heads, causal));
        norm2 = child("norm2", new LayerNorm(dim));
        up = child("up", new Linear(dim, hidden));
        down = child("down", new Linear(hidden, dim));
        this.dropout = child("dropout", new Dropout(dropout));
    }

    /** The attention. */
    public MultiHeadAttention attention() {
        return attention;
    }

    /** The second layer of the feed-forward network. */
    public Linear down() {
        return down;
    }

    @Override
    public Tensor forward(Tensor x) {
        return forward(x, null);
    }

    /** New positions behind those in a cache; without one if that is null. */
    public Tensor forward(Tensor x, KeyValueCache cache) {
        Tensor normal = norm1.forward(x);
        Tensor y = x.add(dropout.forward(cache == null ? attention.forward(normal) : attention.forward(normal, cache)));
        Tensor hidden = up.forward(norm2.forward(y)).map(Activations::geluTanh); // (B, T, hidden)
        return y.add(dropout.forward(down.forward(hidden))); // (B, T, C)
    }
}
