// What an op must know of a tensor to check and infer: its dtype and its shape.
package dev.heddle.engine.op;

import dev.heddle.engine.DType;
import dev.heddle.engine.Shape;

/** The static type of a tensor: element type and shape. */
public record Spec(DType dtype, Shape shape) {
    /** Bytes of the contiguous tensor. */
    public long bytes() {
        return Math.multiplyExact(shape.elements(), dtype.bytes());
    }

    /** For example {@code f32(64, 10)}. */
    @Override
    public String toString() {
        return dtype.name().toLowerCase(java.util.Locale.ROOT) + shape;
    }
}
