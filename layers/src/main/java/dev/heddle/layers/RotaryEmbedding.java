// Positions as rotations of queries and keys, so that their products depend on distances alone.
package dev.heddle.layers;

import dev.heddle.engine.Tensor;

/**
 * Rotary position embedding (Su et al., 2021): features {@code i} and {@code i + D/2} of position {@code t} are turned by the angle
 * {@code t base^(-2i/D)}, the pairing that GPT-NeoX and Llama use.
 */
public final class RotaryEmbedding {
    private final int dim;
    private final Tensor cosines; // (positions, D/2)
    private final Tensor sines;

    /**
     * For heads of {@code dim} features.
     *
     * @param positions the longest sequence
     * @param base usually 10000
     */
    public RotaryEmbedding(int dim, int positions, double base) {
        if (dim % 2 != 0) {
            throw new IllegalArgumentException("rotary embedding: " + dim + " features do not pair");
        }
        this.dim = dim;
        int half = dim / 2;
        float[] cos = new float[positions * half];
        float[] sin = new float[positions * half];
        for (int t = 0; t < positions; t++) {
            for (int i = 0; i < half; i++) {
                double angle = t * Math.pow(base, -2.0 * i / dim);
                cos[t * half + i] = (float) Math.cos(angle);
                sin[t * half + i] = (float) Math.sin(angle);
            }
        }
        cosines = Tensor.of(cos, positions, half);
        sines = Tensor.of(sin, positions, half);
    }

    /** {@code x (B, H, T, D)}, whose first position is {@code start}, turned. */
    public Tensor rotate(Tensor x, long start) {
        if (x.dim(-1) != dim || start + x.dim(2) > cosines.dim(0)) {
            throw new IllegalArgumentException("rotary embedding: " + x.shape() + " from position " + start + " with " + dim + " features and "
                    + cosines.dim(0) + " positions");
        }
        Tensor cos = cosines.slice(0, start, start + x.dim(2)).to(x.device()).to(x.dtype()); // (T, D/2)
        Tensor sin = sines.slice(0, start, start + x.dim(2)).to(x.device()).to(x.dtype());
        Tensor a = x.slice(3, 0, dim / 2); // (B, H, T, D/2)
        Tensor b = x.slice(3, dim / 2, dim);
        return Tensor.concat(3, a.mul(cos).sub(b.mul(sin)), b.mul(cos).add(a.mul(sin))); // (B, H, T, D)
    }
}
