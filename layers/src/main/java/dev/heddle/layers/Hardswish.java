// Swish in pieces.
package dev.heddle.layers;

import dev.heddle.engine.Activations;
import dev.heddle.engine.Tensor;

/** {@link Activations#hardswish} of each element. */
public final class Hardswish extends Layer {
    @Override
    public Tensor forward(Tensor x) {
        return x.map(Activations::hardswish);
    }
}
