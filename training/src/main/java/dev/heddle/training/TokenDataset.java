// A long text as tokens, of which training sees random windows.
package dev.heddle.training;

import dev.heddle.engine.Tensor;
import java.util.SplittableRandom;

/**
 * Windows of {@code context} tokens with the tokens that follow each: inputs {@code (N, T)} and targets {@code (N, T)}, both
 * {@code I64}. Where a window starts is drawn from the epoch's seed and the sample's index, so it is the same in each run.
 */
public final class TokenDataset implements Dataset {
    /** Where tokens come from. */
    private interface Source {
        /** Copies {@code n} tokens from a place on to {@code target[at]} and behind. */
        void copy(long from, int n, long[] target, int at);
    }

    private final Source tokens;
    private final long starts; // places where a window can start
    private final int context;
    private final int windows;
    private final boolean random;

    private TokenDataset(Source tokens, long size, int context, int windows, boolean random) {
        if (context < 1 || size <= context || windows < 1) {
            throw new DatasetException("tokens: " + windows + " windows of " + context + " from a text of " + size + " tokens");
        }
        this.tokens = tokens;
        starts = size - context;
        this.context = context;
        this.windows = windows;
        this.random = random;
    }

    /** {@code windows} random windows an epoch; the array is not copied. */
    public static TokenDataset random(int[] tokens, int context, int windows) {
        return new TokenDataset(source(tokens), tokens.length, context, windows, true);
    }

    /** The same from files. */
    public static TokenDataset random(TokenShards tokens, int context, int windows) {
        return new TokenDataset(tokens::copy, tokens.size(), context, windows, true);
    }

    /** At most {@code windows} windows at equal distances, always the same ones: to validate with. */
    public static TokenDataset spread(int[] tokens, int context, int windows) {
        return new TokenDataset(source(tokens), tokens.length, context, spread(tokens.length, context, windows), false);
    }

    /** The same from files. */
    public static TokenDataset spread(TokenShards tokens, int context, int windows) {
        return new TokenDataset(tokens::copy, tokens.size(), context, spread(tokens.size(), context, windows), false);
    }

    private static int spread(long size, int context, int windows) {
        return context < 1 ? windows : (int) Math.min(windows, Math.max(1, (size - 1) / context));
    }

    private static Source source(int[] tokens) {
        return (from, n, target, at) -> {
            for (int i = 0; i < n; i++) {
                target[at + i] = tokens[(int) from + i];
            }
        };
    }

    @Override
    public int size() {
        return windows;
    }

    @Override
    public Batch batch(int[] indices, long seed) {
        long[] inputs = new long[indices.length * context];
        long[] targets = new long[inputs.length];
        for (int i = 0; i < indices.length; i++) {
            long start = random ? start(seed * 0x9E3779B97F4A7C15L + indices[i]) : indices[i] * (starts - 1) / Math.max(1, windows - 1);
            tokens.copy(start, context, inputs, i * context);
            tokens.copy(start + 1, context, targets, i * context);
        }
        return new Batch(Tensor.of(inputs, indices.length, context), Tensor.of(targets, indices.length, context)); // (N, T)
    }

    private long start(long seed) {
        SplittableRandom random = new SplittableRandom(seed);
        return starts <= Integer.MAX_VALUE ? random.nextInt((int) starts) : random.nextLong(starts);
    }
}
