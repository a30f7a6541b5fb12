// A decoder-only transformer as they have been built since: rotary positions, RMS norms, gated networks, shared key heads.
package dev.heddle.layers;

import dev.heddle.engine.Functional;
import dev.heddle.engine.Tensor;
import dev.heddle.engine.Variable;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/**
 * Tokens {@code (B, T) I64} to logits {@code (B, T, vocabulary)} (Touvron et al., "LLaMA: Open and efficient foundation language
 * models", 2023): {@link RmsNorm} in front of {@link GatedFeedForward} and of attention with {@link RotaryEmbedding}, no biases.
 */
public final class Llama extends Layer {
    private static final double STD = 0.02;
    private static final Map<String, Config> SIZES = Map.of(
            "tinystories-15m", new Config(32000, 256, 6, 6, 6, 288, 768, 10_000, 1e-5, true),
            "tinyllama-1.1b", new Config(32000, 2048, 22, 32, 4, 2048, 5632, 10_000, 1e-5, false),
            "llama-2-7b", new Config(32000, 4096, 32, 32, 32, 4096, 11008, 10_000, 1e-5, false),
            "llama-3-8b", new Config(128256, 8192, 32, 32, 8, 4096, 14336, 500_000, 1e-5, false));

    /**
     * What a model is made of.
     *
     * @param vocabulary number of tokens
     * @param context the longest sequence
     * @param layers number of blocks
     * @param heads attention heads of a block
     * @param keyHeads heads of keys and values; divides {@code heads}
     * @param dim features of a position
     * @param hidden features inside a block's feed-forward network
     * @param base of the rotary positions, usually 10000
     * @param eps of the norms
     * @param tied whether the output layer shares the token embedding
     */
    public record Config(int vocabulary, int context, int layers, int heads, int keyHeads, int dim, int hidden, double base, double eps,
            boolean tied) {}

    private final Config config;
    private final Variable tokens;
    private final List<TransformerBlock> blocks = new ArrayList<>();
    private final RmsNorm norm;
    private final Linear head; // or null

    /** A model with random weights: normal, of standard deviation 0.02. */
    public Llama(Config config) {
        this.config = config;
        int dim = config.dim;
        tokens = parameter("tokens", Init.normal(0, STD, config.vocabulary, dim));
        RotaryEmbedding rotary = new RotaryEmbedding(dim / config.heads, config.context, config.base);
        for (int i = 0; i < config.layers; i++) {
            blocks.add(child("block" + i, new TransformerBlock(new RmsNorm(dim, config.eps),
                    new MultiHeadAttention(dim, config.heads, config.keyHeads, true, false, 0, rotary), new RmsNorm(dim, config.eps),
                    new GatedFeedForward(dim, config.hidden), 0, true)));
        }
        norm = child("norm", new RmsNorm(dim, config.eps));
        head = config.tied ? null : child("head", new Linear(dim, config.vocabulary, false));
        namedParameters().forEach((name, variable) -> {
            if (!name.contains("norm")) {
                variable.set(Init.normal(0, STD, variable.shape().dims()));
            }
        });
        Variable.settle(parameters());
    }

    /**
     * A model of a known size: {@code tinystories-15m}, {@code tinyllama-1.1b}, {@code llama-2-7b}, {@code llama-3-8b}.
     *
     * @throws IllegalArgumentException if there is no such size
     */
    public static Llama named(String size) {
        return new Llama(config(size));
    }

    /**
     * What a model of a known size is made of.
     *
     * @throws IllegalArgumentException if there is no such size
     */
    public static Config config(String size) {
        return Sizes.get(SIZES, "llama", size);
    }

    /** What the model is made of. */
    public Config config() {
        return config;
    }

    /** A cache for each block, to generate with. */
    public List<KeyValueCache> caches() {
        return blocks.stream().map(block -> new KeyValueCache()).toList();
    }

    @Override
    public Tensor forward(Tensor x) {
        return forward(x, null);
    }

    /**
     * Logits of new tokens {@code (B, T)} behind those that the caches have seen.
     *
     * @param caches those of {@link #caches}, or null for none
     * @throws IllegalArgumentException if the sequence becomes longer than the context
     */
    public Tensor forward(Tensor x, List<KeyValueCache> caches) {
        long length = x.dim(1) + (caches == null ? 0 : caches.getFirst().length());
        if (length > config.context) {
            throw new IllegalArgumentException("llama: " + length + " tokens, but the context is " + config.context);
        }
        Tensor h = Functional.embedding(x, tokens.value()); // (B, T, C)
        for (int i = 0; i < blocks.size(); i++) {
            h = caches == null ? blocks.get(i).forward(h) : blocks.get(i).forward(h, caches.get(i));
        }
        h = norm.forward(h);
        return head == null ? Functional.linear(h, tokens.value(), null) : head.forward(h); // (B, T, vocabulary)
    }

    /** The mean cross-entropy, in nats a token, of {@code targets (B, T) I64} after {@code x (B, T)}. */
    public Tensor loss(Tensor x, Tensor targets) {
        Tensor logits = forward(x).reshape(x.elements(), config.vocabulary); // (B T, vocabulary)
        return Functional.crossEntropy(logits, targets.reshape(x.elements()), -100, 0).mean();
    }
}
