// A smooth rectifier.
package dev.heddle.layers;

import dev.heddle.engine.Activations;
import dev.heddle.engine.Tensor;

/** {@link Activations#softplus} of each element. */
public final class Softplus extends Layer {
    @Override
    public Tensor forward(Tensor x) {
        return x.map(Activations::softplus);
    }
}
