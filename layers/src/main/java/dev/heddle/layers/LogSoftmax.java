// The logarithm of softmax as a layer.
package dev.heddle.layers;

import dev.heddle.engine.Functional;
import dev.heddle.engine.Tensor;

/** {@link Functional#logSoftmax} along an axis. */
public final class LogSoftmax extends Layer {
    private final int axis;

    /** Along the last axis. */
    public LogSoftmax() {
        this(-1);
    }

    /** Along an axis; negative axes count from the last. */
    public LogSoftmax(int axis) {
        this.axis = axis;
    }

    @Override
    public Tensor forward(Tensor x) {
        return Functional.logSoftmax(x, axis);
    }
}
