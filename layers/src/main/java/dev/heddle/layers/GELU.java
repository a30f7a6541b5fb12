// The Gaussian error linear unit.
package dev.heddle.layers;

import dev.heddle.engine.Activations;
import dev.heddle.engine.Tensor;

/** {@link Activations#gelu} of each element. */
public final class GELU extends Layer {
    @Override
    public Tensor forward(Tensor x) {
        return x.map(Activations::gelu);
    }
}
