// A decoder-only transformer that predicts the next token: GPT-2's architecture at any size.
package dev.heddle.layers;

import dev.heddle.engine.Functional;
import dev.heddle.engine.Tensor;
import dev.heddle.engine.Variable;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/**
 * Tokens {@code (B, T) I64} to logits {@code (B, T, vocabulary)} (Radford et al., "Language models are unsupervised multitask
 * learners", 2019): learned positions, blocks with the norm in front, and an output layer that shares the token embedding.
 */
public final class Gpt extends Layer {
    private static final double STD = 0.02;
    private static final Map<String, Config> SIZES = Map.of(
            "gpt2", new Config(50257, 1024, 12, 12, 768, 0.1),
            "gpt2-medium", new Config(50257, 1024, 24, 16, 1024, 0.1),
            "gpt2-large", new Config(50257, 1024, 36, 20, 1280, 0.1),
            "gpt2-xl", new Config(50257, 1024, 48, 25, 1600, 0.1));

    /**
     * What a model is made of.
     *
     * @param vocabulary number of tokens
     * @param context the longest sequence
     * @param layers number of blocks
     * @param heads attention heads of a block
     * @param dim features of a position
     * @param dropout in training, of embeddings and of what blocks add
     */
    public record Config(int vocabulary, int context, int layers, int heads, int dim, double dropout) {}

    private final Config config;
    private final Variable tokens;
    private final Variable positions;
    private final Dropout dropout;
    private final List<TransformerBlock> blocks = new ArrayList<>();
    private final LayerNorm norm;
    private boolean recompute;

    /** A model with random weights, as GPT-2 was begun: normal, of standard deviation 0.02, less for what is added to the residual. */
    public Gpt(Config config) {
        this.config = config;
        tokens = parameter("tokens", Init.normal(0, STD, config.vocabulary, config.dim));
        positions = parameter("positions", Init.normal(0, STD, config.context, config.dim));
        dropout = child("dropout", new Dropout(config.dropout));
        for (int i = 0; i < config.layers; i++) {
            TransformerBlock block = child("block" + i, new TransformerBlock(config.dim, config.heads, 4 * config.dim, config.dropout, true));
            blocks.add(block);
            initialize(block);
        }
        norm = child("norm", new LayerNorm(config.dim));
        Variable.settle(parameters());
    }

    /**
     * A model of one of GPT-2's sizes: {@code gpt2} (124M parameters), {@code gpt2-medium} (355M), {@code gpt2-large} (774M),
     * {@code gpt2-xl} (1.5B).
     *
     * @throws IllegalArgumentException if there is no such size
     */
    public static Gpt named(String size) {
        return new Gpt(Sizes.get(SIZES, "gpt", size));
    }

    private void initialize(TransformerBlock block) {
        block.state().forEach((name, variable) -> {
            boolean residual = name.equals("attention.out.weight") || name.equals("feed_forward.down.weight");
            if (name.endsWith("bias")) {
                variable.set(Init.zeros(variable.shape().dims()));
            } else if (!name.contains("norm")) {
                variable.set(Init.normal(0, residual ? STD / Math.sqrt(2 * config.layers) : STD, variable.shape().dims()));
            }
        });
    }

    /** Whether blocks are computed again for their gradients, to save memory; see {@link Functional#recompute}. */
    public Gpt recompute(boolean recompute) {
        this.recompute = recompute;
        return this;
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
        long past = caches == null ? 0 : caches.getFirst().length();
        long t = x.dim(1);
        if (past + t > config.context) {
            throw new IllegalArgumentException("gpt: " + (past + t) + " tokens, but the context is " + config.context);
        }
        Tensor h = Functional.embedding(x, tokens.value()).add(positions.value().slice(0, past, past + t)); // (B, T, C)
        h = dropout.forward(h);
        for (int i = 0; i < blocks.size(); i++) {
            TransformerBlock block = blocks.get(i);
            h = caches != null ? block.forward(h, caches.get(i)) : recompute && training() ? Functional.recompute(block::forward, h)
                    : block.forward(h);
        }
        return Functional.linear(norm.forward(h), tokens.value(), null); // (B, T, vocabulary)
    }

    /** The mean cross-entropy, in nats a token, of {@code targets (B, T) I64} after {@code x (B, T)}. */
    public Tensor loss(Tensor x, Tensor targets) {
        Tensor logits = forward(x).reshape(x.elements(), config.vocabulary); // (B T, vocabulary)
        return Functional.crossEntropy(logits, targets.reshape(x.elements()), -100, 0).mean();
    }
}
