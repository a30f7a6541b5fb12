// The error of every operation whose operands do not fit together.
package dev.heddle.engine;

/** Thrown where an operation is recorded, when its operands' shapes, axes or dtypes do not fit; names both. */
public final class ShapeException extends IllegalArgumentException {
    private static final long serialVersionUID = 1L;

    /** @param message the operation and the shapes */
    public ShapeException(String message) {
        super(message);
    }
}
