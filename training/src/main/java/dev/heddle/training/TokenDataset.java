// A long text as tokens, of which training sees random windows.
package dev.heddle.training;

import dev.heddle.engine.Tensor;
import java.util.SplittableRandom;

/**
 * Windows of {@code context} tokens with the tokens that follow each: inputs {@code (N, T)} and targets {@code (N, T)}, both
 * {@code I64}. Where a window starts is drawn from the epoch's seed and the sample's index, so it is the same in each run.
 */
public final class TokenDataset implements Dataset {
    private final int[] tokens;
    private final int context;
    private final int windows;
    private final boolean random;

    private TokenDataset(int[] tokens, int context, int windows, boolean random) {
        if (context < 1 || tokens.length <= context || windows < 1) {
            throw new DatasetException("tokens: " + windows + " windows of " + context + " from a text of " + tokens.length + " tokens");
        }
        this.tokens = tokens;
        this.context = context;
        this.windows = windows;
        this.random = random;
    }

    /** {@code windows} random windows an epoch; the array is not copied. */
    public static TokenDataset random(int[] tokens, int context, int windows) {
        return new TokenDataset(tokens, context, windows, true);
    }

    /** At most {@code windows} windows at equal distances, always the same ones: to validate with. */
    public static TokenDataset spread(int[] tokens, int context, int windows) {
        return new TokenDataset(tokens, context, Math.min(windows, Math.max(1, (tokens.length - 1) / context)), false);
    }

    @Override
    public int size() {
        return windows;
    }

    @Override
    public Batch batch(int[] indices, long seed) {
        long[] inputs = new long[indices.length * context];
        long[] targets = new long[inputs.length];
        int starts = tokens.length - context;
        for (int i = 0; i < indices.length; i++) {
            int start = random ? new SplittableRandom(seed * 0x9E3779B97F4A7C15L + indices[i]).nextInt(starts)
                    : (int) ((long) indices[i] * (starts - 1) / Math.max(1, windows - 1));
            for (int t = 0; t < context; t++) {
                inputs[i * context + t] = tokens[start + t];
                targets[i * context + t] = tokens[start + t + 1];
            }
        }
        return new Batch(Tensor.of(inputs, indices.length, context), Tensor.of(targets, indices.length, context)); // (N, T)
    }
}
