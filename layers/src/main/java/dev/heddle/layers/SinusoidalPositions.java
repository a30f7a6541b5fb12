// Positions as waves of many lengths, added to what stands there: nothing to learn, and no longest sequence in the model.
package dev.heddle.layers;

import dev.heddle.engine.Tensor;

/**
 * {@code (B, T, dim) -> (B, T, dim)}: feature {@code 2i} of position {@code t} grows by {@code sin(t / 10000^(2i/dim))}, feature
 * {@code 2i + 1} by the cosine of that (Vaswani et al., 2017).
 */
public final class SinusoidalPositions extends Layer {
    private static final double BASE = 10_000;

    private final Tensor waves; // (positions, dim)

    /**
     * For {@code dim} features.
     *
     * @param positions the longest sequence
     */
    public SinusoidalPositions(int positions, int dim) {
        float[] values = new float[Math.multiplyExact(positions, dim)];
        for (int i = 0; i < values.length; i++) {
            int feature = i % dim;
            double angle = i / dim / Math.pow(BASE, (double) (feature - feature % 2) / dim);
            values[i] = (float) (feature % 2 == 0 ? Math.sin(angle) : Math.cos(angle));
        }
        waves = Tensor.of(values, positions, dim);
    }

    @Override
    public Tensor forward(Tensor x) {
        return forward(x, 0);
    }

    /**
     * The same for {@code x} whose first position is {@code start}.
     *
     * @throws IllegalArgumentException if the sequence is longer than the longest
     */
    public Tensor forward(Tensor x, long start) {
        if (start + x.dim(1) > waves.dim(0)) {
            throw new IllegalArgumentException("sinusoidal positions: " + (start + x.dim(1)) + " positions, but there are " + waves.dim(0));
        }
        return x.add(waves.slice(0, start, start + x.dim(1)).to(x.device()).to(x.dtype())); // (B, T, dim)
    }
}
