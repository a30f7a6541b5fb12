// Group normalisation.
package dev.heddle.layers;

import dev.heddle.engine.Functional;
import dev.heddle.engine.Tensor;
import dev.heddle.engine.Variable;

/** {@code (N, C, ...) -> (N, C, ...)}; see {@link Functional#groupNorm}. Parameters {@code weight (C)}, {@code bias (C)}. */
public final class GroupNorm extends Layer {
    private final Variable weight;
    private final Variable bias;
    private final int groups;

    /**
     * With {@code eps = 1e-5}.
     *
     * @throws IllegalArgumentException if the groups do not divide the channels
     */
    public GroupNorm(int groups, int channels) {
        if (groups < 1 || channels % groups != 0) {
            throw new IllegalArgumentException("GroupNorm: " + groups + " groups of " + channels + " channels");
        }
        this.groups = groups;
        weight = parameter("weight", Init.ones(channels));
        bias = parameter("bias", Init.zeros(channels));
    }

    @Override
    public Tensor forward(Tensor x) {
        return Functional.groupNorm(x, groups, weight.value(), bias.value(), 1e-5);
    }
}
