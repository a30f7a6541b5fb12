// The first transformer: an encoder reads a text, a decoder writes another, a translation say.
package dev.heddle.layers;

import dev.heddle.engine.Activations;
import dev.heddle.engine.Functional;
import dev.heddle.engine.Tensor;
import dev.heddle.engine.Variable;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;

/**
 * Source {@code (B, S) I64} and target {@code (B, T) I64} to logits {@code (B, T, vocabulary)} of the token behind each of the target's
 * (Vaswani et al., "Attention is all you need", 2017): sinusoidal positions, blocks with the norm behind, and one table of
 * vectors for source, target and output.
 */
public final class Transformer extends Layer {
    private static final double SMOOTHING = 0.1;
    private static final Map<String, Config> SIZES = Map.of(
            "transformer-base", new Config(37000, 512, 6, 8, 512, 2048, 0.1),
            "transformer-big", new Config(37000, 512, 6, 16, 1024, 4096, 0.3));

    /**
     * What a model is made of.
     *
     * @param vocabulary number of tokens, of source and target together
     * @param context the longest sequence
     * @param layers number of blocks of the encoder, and of the decoder
     * @param heads attention heads of a block
     * @param dim features of a position
     * @param hidden features inside a block's feed-forward network
     * @param dropout in training, of embeddings and of what blocks add
     */
    public record Config(int vocabulary, int context, int layers, int heads, int dim, int hidden, double dropout) {}

    private final Config config;
    private final Variable tokens;
    private final SinusoidalPositions positions;
    private final Dropout dropout;
    private final List<TransformerBlock> encoder = new ArrayList<>();
    private final List<TransformerDecoderLayer> decoder = new ArrayList<>();

    /** A model with random weights: matrices by Glorot and Bengio's rule, vectors of tokens normal, of standard deviation {@code 1 / sqrt(dim)}. */
    public Transformer(Config config) {
        this.config = config;
        int dim = config.dim;
        tokens = parameter("tokens", Init.normal(0, 1 / Math.sqrt(dim), config.vocabulary, dim));
        positions = child("positions", new SinusoidalPositions(config.context, dim));
        dropout = child("dropout", new Dropout(config.dropout));
        for (int i = 0; i < config.layers; i++) {
            encoder.add(child("encoder" + i, new TransformerBlock(new LayerNorm(dim), new MultiHeadAttention(dim, config.heads, false),
                    new LayerNorm(dim), new FeedForward(dim, config.hidden, Activations::relu), config.dropout, false)));
        }
        for (int i = 0; i < config.layers; i++) {
            decoder.add(child("decoder" + i, new TransformerDecoderLayer(dim, config.heads, config.hidden, config.dropout)));
        }
        Init.linears(this, shape -> Init.xavierUniform(1, shape));
    }

    /**
     * A model of the paper's sizes, {@code transformer-base} (63M parameters) or {@code transformer-big} (214M), with its vocabulary of
     * 37,000 tokens of English and German.
     *
     * @throws IllegalArgumentException if there is no such size
     */
    public static Transformer named(String size) {
        return new Transformer(Sizes.get(SIZES, "transformer", size));
    }

    /** What the model is made of. */
    public Config config() {
        return config;
    }

    /** @throws UnsupportedOperationException always: the model needs a source and a target */
    @Override
    public Tensor forward(Tensor x) {
        throw new UnsupportedOperationException("transformer: needs a source and a target");
    }

    /**
     * Logits {@code (B, T, vocabulary)}.
     *
     * @param source {@code I64 (B, S)}
     * @param lengths {@code I32 (B)}, how many tokens of each source count; null for all
     * @param target {@code I64 (B, T)}, from the token on that begins a text
     * @throws IllegalArgumentException if a sequence is longer than the context
     */
    public Tensor forward(Tensor source, Tensor lengths, Tensor target) {
        return decode(target, encode(source, lengths), lengths);
    }

    /** The memory {@code (B, S, C)} of sources {@code (B, S)}. */
    public Tensor encode(Tensor source, Tensor lengths) {
        Tensor h = embed(source, 0);
        for (TransformerBlock block : encoder) {
            h = lengths == null ? block.forward(h) : block.forward(h, lengths);
        }
        return h; // (B, S, C)
    }

    /** Logits {@code (B, T, vocabulary)} for targets {@code (B, T)} and a memory. */
    public Tensor decode(Tensor target, Tensor memory, Tensor lengths) {
        Tensor h = embed(target, 0);
        for (TransformerDecoderLayer layer : decoder) {
            h = layer.forward(h, memory, lengths);
        }
        return logits(h);
    }

    private Tensor embed(Tensor x, long start) {
        Tensor h = Functional.embedding(x, tokens.value()).mul(Math.sqrt(config.dim)); // (B, T, C)
        return dropout.forward(positions.forward(h, start));
    }

    private Tensor logits(Tensor h) {
        return Functional.linear(h, tokens.value(), null); // (B, T, vocabulary)
    }

    /**
     * The mean cross-entropy, in nats a token, with labels smoothed by 0.1 as in the paper.
     *
     * @param next {@code I64 (B, T)}, the token behind each of {@code target}; -1 where there is none, which does not count
     */
    public Tensor loss(Tensor source, Tensor lengths, Tensor target, Tensor next) {
        Tensor logits = forward(source, lengths, target).reshape(target.elements(), config.vocabulary); // (B T, vocabulary)
        Tensor labels = next.reshape(next.elements()); // (B T)
        Tensor losses = Functional.crossEntropy(logits, labels, -1, SMOOTHING);
        return losses.sum().div(labels.ne(-1).to(losses.dtype()).sum());
    }

    /**
     * Writes the likeliest token each time, until all texts have ended.
     *
     * @param begin the token that begins a text
     * @param end the token that ends one
     * @param longest tokens at most
     * @return for each source the tokens between the two
     */
    public List<long[]> generate(Tensor source, Tensor lengths, long begin, long end, int longest) {
        Tensor memory = encode(source, lengths).detach().eval();
        List<TransformerDecoderLayer.Cache> caches = decoder.stream().map(layer -> layer.cache(memory)).toList();
        int n = Math.toIntExact(source.dim(0));
        long[][] texts = new long[n][longest];
        int[] ends = new int[n];
        Arrays.fill(ends, -1);
        long[] last = new long[n];
        Arrays.fill(last, begin);
        int written = 0;
        while (written < longest && Arrays.stream(ends).anyMatch(e -> e < 0)) {
            Tensor h = embed(Tensor.of(last, n, 1), written); // (B, 1, C)
            for (int i = 0; i < decoder.size(); i++) {
                h = decoder.get(i).forward(h, caches.get(i), lengths);
            }
            last = logits(h).reshape(n, config.vocabulary).argmax(1).toLongArray(); // (B)
            caches.forEach(cache -> cache.self().settle());
            for (int b = 0; b < n; b++) {
                texts[b][written] = last[b];
                ends[b] = ends[b] < 0 && last[b] == end ? written : ends[b];
            }
            written++;
        }
        List<long[]> result = new ArrayList<>();
        for (int b = 0; b < n; b++) {
            result.add(Arrays.copyOf(texts[b], ends[b] < 0 ? written : ends[b]));
        }
        return result;
    }
}
