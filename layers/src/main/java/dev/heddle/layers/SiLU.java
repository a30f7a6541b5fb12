// Swish.
package dev.heddle.layers;

import dev.heddle.engine.Activations;
import dev.heddle.engine.Tensor;

/** {@link Activations#silu} of each element. */
public final class SiLU extends Layer {
    @Override
    public Tensor forward(Tensor x) {
        return x.map(Activations::silu);
    }
}
