// Keeps single steps from blowing a model up.
package dev.heddle.training;

import dev.heddle.engine.Gradients;
import dev.heddle.engine.Tensor;
import dev.heddle.kernels.FusedFunctions;
import java.util.List;

/** Clipping of gradients. All of it is recorded and runs in the optimizer's step; nothing is read. */
public final class GradientClipping {
    private static final double EPS = 1e-6;

    private GradientClipping() {}

    /** The Euclidean norm of all gradients taken as one vector, an {@code F32} scalar (or wider, if a gradient is). */
    public static Tensor norm(Gradients gradients) {
        List<Tensor> all = gradients.variables().stream().map(gradients::get).toList();
        return all.isEmpty() ? Tensor.scalar(0) : FusedFunctions.globalNorm(all);
    }

    /**
     * Gradients scaled by {@code min(1, maxNorm / (norm + 1e-6))}, so that their {@link #norm} is at most
     * {@code maxNorm} (Pascanu et al., 2013). Those of 16 bits become {@code F32}.
     */
    public static Gradients byNorm(Gradients gradients, double maxNorm) {
        requirePositive("norm", maxNorm);
        Tensor scale = norm(gradients).add(EPS).reciprocal().mul(maxNorm).minimum(1);
        return gradients.map(gradient -> wide(gradient).mul(scale.to(gradient.dtype().computeType())));
    }

    /** Gradients with every element limited to {@code [-limit, limit]}. */
    public static Gradients byValue(Gradients gradients, double limit) {
        requirePositive("value", limit);
        return gradients.map(gradient -> gradient.clamp(-limit, limit));
    }

    /** A gradient in the dtype that arithmetic has: squares of 16-bit numbers overflow, and their sums lose digits. */
    private static Tensor wide(Tensor gradient) {
        return gradient.to(gradient.dtype().computeType());
    }

    static void requirePositive(String what, double limit) {
        if (!(limit > 0)) {
            throw new IllegalArgumentException("gradient clipping: " + what + " " + limit + " is not positive");
        }
    }
}
