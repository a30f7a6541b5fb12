// Softmax as a layer.
package dev.heddle.layers;

import dev.heddle.engine.Functional;
import dev.heddle.engine.Tensor;

/** {@link Functional#softmax} along an axis. */
public final class Softmax extends Layer {
    private final int axis;

    /** Along the last axis. */
    public Softmax() {
        this(-1);
    }

    /** Along an axis; negative axes count from the last. */
    public Softmax(int axis) {
        this.axis = axis;
    }

    @Override
    public Tensor forward(Tensor x) {
        return Functional.softmax(x, axis);
    }
}
