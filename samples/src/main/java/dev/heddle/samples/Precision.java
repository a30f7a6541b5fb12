// The dtypes that the command line trains in.
package dev.heddle.samples;

import dev.heddle.engine.DType;
import dev.heddle.training.LossScaler;

/** Of parameters and activations; the optimizer keeps masters of 16-bit parameters in {@code F32}. Gradients in {@code F16} need a scaler. */
enum Precision {
    F32, BF16, F16;

    DType dtype() {
        return DType.valueOf(name());
    }

    /** What gradients need; null for nothing. */
    LossScaler scaler() {
        return this == F16 ? new LossScaler() : null;
    }

    @Override
    public String toString() {
        return name().toLowerCase(java.util.Locale.ROOT);
    }
}
