// From images to vectors.
package dev.heddle.layers;

import dev.heddle.engine.Tensor;

/** {@code (N, ...) -> (N, D)}: all axes but the first joined. */
public final class Flatten extends Layer {
    @Override
    public Tensor forward(Tensor x) {
        return x.flatten(1, -1);
    }
}
