// The rectifier.
package dev.heddle.layers;

import dev.heddle.engine.Activations;
import dev.heddle.engine.Tensor;

/** {@link Activations#relu} of each element. */
public final class ReLU extends Layer {
    @Override
    public Tensor forward(Tensor x) {
        return x.map(Activations::relu);
    }
}
