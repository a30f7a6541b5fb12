// The hyperbolic tangent.
package dev.heddle.layers;

import dev.heddle.engine.Activations;
import dev.heddle.engine.Tensor;

/** {@link Activations#tanh} of each element. */
public final class Tanh extends Layer {
    @Override
    public Tensor forward(Tensor x) {
        return x.map(Activations::tanh);
    }
}
