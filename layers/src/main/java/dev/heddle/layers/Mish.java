// Mish.
package dev.heddle.layers;

import dev.heddle.engine.Activations;
import dev.heddle.engine.Tensor;

/** {@link Activations#mish} of each element. */
public final class Mish extends Layer {
    @Override
    public Tensor forward(Tensor x) {
        return x.map(Activations::mish);
    }
}
