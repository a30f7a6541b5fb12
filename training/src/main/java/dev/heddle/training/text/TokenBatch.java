// Texts of different lengths side by side.
package dev.heddle.training.text;

import dev.heddle.engine.Tensor;
import java.util.List;

/**
 * Sequences of tokens, padded to one length.
 *
 * @param tokens {@code I64 (B, T)}
 * @param lengths {@code I32 (B)}: how many tokens of each sequence count
 */
public record TokenBatch(Tensor tokens, Tensor lengths) implements AutoCloseable {
    private static final int MULTIPLE = 16; // few lengths, so few plans

    /**
     * A batch as long as its longest sequence, rounded up to a multiple of 16.
     *
     * @param longest no longer than this, a model's context; sequences must not be longer either
     * @param padding the token to pad with
     */
    public static TokenBatch of(List<int[]> sequences, int longest, int padding) {
        int most = sequences.stream().mapToInt(s -> s.length).max().orElse(0);
        if (most > longest) {
            throw new IllegalArgumentException("token batch: a sequence of " + most + " tokens, longest are " + longest);
        }
        int t = Math.min(longest, Math.max(1, (most + MULTIPLE - 1) / MULTIPLE) * MULTIPLE);
        long[] tokens = new long[sequences.size() * t];
        int[] lengths = new int[sequences.size()];
        java.util.Arrays.fill(tokens, padding);
        for (int b = 0; b < lengths.length; b++) {
            int[] sequence = sequences.get(b);
            lengths[b] = sequence.length;
            for (int i = 0; i < sequence.length; i++) {
                tokens[b * t + i] = sequence[i];
            }
        }
        return new TokenBatch(Tensor.of(tokens, lengths.length, t), Tensor.of(lengths, lengths.length));
    }

    /** Returns the memory of both tensors; see {@link Tensor#close()}. */
    @Override
    public void close() {
        tokens.close();
        lengths.close();
    }
}
