// A transformer that reads a whole text at once, in both directions: BERT's architecture at any size.
package dev.heddle.layers;

import dev.heddle.engine.Activations;
import dev.heddle.engine.DType;
import dev.heddle.engine.Functional;
import dev.heddle.engine.Tensor;
import dev.heddle.engine.Variable;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/**
 * Tokens {@code (B, T) I64} to features {@code (B, T, C)} (Devlin et al., "BERT: Pre-training of deep bidirectional transformers for
 * language understanding", 2019): embeddings of token, position and segment, and blocks with the norm behind.
 */
public final class Bert extends Layer {
    private static final double STD = 0.02;
    private static final double EPS = 1e-12;
    private static final Map<String, Config> SIZES = Map.of(
            "bert-base", new Config(30522, 512, 2, 12, 12, 768, 3072, 0.1, true),
            "bert-large", new Config(30522, 512, 2, 24, 16, 1024, 4096, 0.1, true),
            "minilm-l6", new Config(30522, 512, 2, 6, 12, 384, 1536, 0.1, false));

    /**
     * What a model is made of.
     *
     * @param vocabulary number of tokens
     * @param context the longest sequence
     * @param segments kinds of text that a sequence may be put together from
     * @param layers number of blocks
     * @param heads attention heads of a block
     * @param dim features of a position
     * @param hidden features inside a block's feed-forward network
     * @param dropout in training, of embeddings and of what blocks add
     * @param pooler whether there is a layer for {@link Bert#pooled}
     */
    public record Config(int vocabulary, int context, int segments, int layers, int heads, int dim, int hidden, double dropout,
            boolean pooler) {}

    private final Config config;
    private final Variable tokens;
    private final Variable positions;
    private final Variable segments;
    private final LayerNorm norm;
    private final Dropout dropout;
    private final List<TransformerBlock> blocks = new ArrayList<>();
    private final Linear pooler; // or null

    /** A model with random weights, as BERT was begun: normal, of standard deviation 0.02. */
    public Bert(Config config) {
        this.config = config;
        int dim = config.dim;
        tokens = parameter("tokens", Init.normal(0, STD, config.vocabulary, dim));
        positions = parameter("positions", Init.normal(0, STD, config.context, dim));
        segments = parameter("segments", Init.normal(0, STD, config.segments, dim));
        norm = child("norm", new LayerNorm(dim, EPS));
        dropout = child("dropout", new Dropout(config.dropout));
        for (int i = 0; i < config.layers; i++) {
            blocks.add(child("block" + i, new TransformerBlock(new LayerNorm(dim, EPS), new MultiHeadAttention(dim, config.heads, false),
                    new LayerNorm(dim, EPS), new FeedForward(dim, config.hidden, Activations::gelu), config.dropout, false)));
        }
        pooler = config.pooler ? child("pooler", new Linear(dim, dim)) : null;
        Init.linears(this, shape -> Init.normal(0, STD, shape));
    }

    /**
     * A model of a known size: {@code bert-base} (110M parameters), {@code bert-large} (335M), {@code minilm-l6} (23M, Wang et al.,
     * 2020; without a pooler, as it serves for sentence embeddings).
     *
     * @throws IllegalArgumentException if there is no such size
     */
    public static Bert named(String size) {
        return new Bert(Sizes.get(SIZES, "bert", size));
    }

    /** What the model is made of. */
    public Config config() {
        return config;
    }

    @Override
    public Tensor forward(Tensor x) {
        return forward(x, null, null);
    }

    /**
     * Features of sequences of which only the first {@code lengths[b]} tokens count; the features behind those mean nothing.
     *
     * @param lengths {@code I32 (B)}
     */
    public Tensor forward(Tensor x, Tensor lengths) {
        return forward(x, null, lengths);
    }

    /**
     * The same with a segment for each token.
     *
     * @param segment {@code I64 (B, T)}, or null for segment 0 everywhere
     * @param lengths {@code I32 (B)}, or null if all tokens count
     * @throws IllegalArgumentException if a sequence is longer than the context
     */
    public Tensor forward(Tensor x, Tensor segment, Tensor lengths) {
        long t = x.dim(1);
        if (t > config.context) {
            throw new IllegalArgumentException("bert: " + t + " tokens, but the context is " + config.context);
        }
        Tensor h = Functional.embedding(x, tokens.value()) // (B, T, C)
                .add(segment == null ? segments.value().slice(0, 0, 1) : Functional.embedding(segment, segments.value()))
                .add(positions.value().slice(0, 0, t));
        h = dropout.forward(norm.forward(h));
        for (TransformerBlock block : blocks) {
            h = lengths == null ? block.forward(h) : block.forward(h, lengths);
        }
        return h; // (B, T, C)
    }

    /**
     * One vector for each sequence, from its first token: {@code tanh(W features[0] + b)}.
     *
     * @param features {@code (B, T, C)}, the result of {@code forward}
     * @return {@code (B, C)}
     * @throws IllegalStateException if the model has no pooler
     */
    public Tensor pooled(Tensor features) {
        if (pooler == null) {
            throw new IllegalStateException("bert: this model has no pooler");
        }
        return pooler.forward(features.select(1, 0)).tanh(); // (B, T, C) -> (B, C)
    }

    /**
     * One vector of length 1 for each sequence: the mean of its features (Reimers and Gurevych, "Sentence-BERT", 2019). The products
     * of such vectors are cosines: how alike two texts are, for a model trained for that.
     *
     * @param lengths {@code I32 (B)}
     * @return {@code (B, C)}
     */
    public Tensor embed(Tensor x, Tensor lengths) {
        Tensor features = forward(x, lengths); // (B, T, C)
        Tensor counts = lengths.to(DType.I64).unsqueeze(1).gt(Tensor.arange(x.dim(1))); // (B, T)
        Tensor sum = features.mul(counts.unsqueeze(2).to(features.dtype())).sum(1); // (B, C)
        Tensor mean = sum.div(lengths.to(features.dtype()).maximum(1).unsqueeze(1));
        return mean.div(mean.square().sum(true, -1).sqrt().maximum(1e-12)); // (B, C)
    }
}
