// The dtypes that the command line trains in.
package dev.heddle.samples;

import dev.heddle.engine.DType;

/** Of parameters and activations; the optimizer keeps masters of 16-bit parameters in {@code F32}. */
enum Precision {
    F32, BF16;

    DType dtype() {
        return DType.valueOf(name());
    }

    @Override
    public String toString() {
        return name().toLowerCase(java.util.Locale.ROOT);
    }
}
