// GELU as GPT-2 computes it.
package dev.heddle.layers;

import dev.heddle.engine.Activations;
import dev.heddle.engine.Tensor;

/** {@link Activations#geluTanh} of each element. */
public final class GELUTanh extends Layer {
    @Override
    public Tensor forward(Tensor x) {
        return x.map(Activations::geluTanh);
    }
}
