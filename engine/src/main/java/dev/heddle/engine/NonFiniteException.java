// The error of the NaN check.
package dev.heddle.engine;

/** Thrown under {@link Debug#checkNaN()} by the first operation that makes a NaN or an infinity; names it and its line. */
public final class NonFiniteException extends ArithmeticException {
    private static final long serialVersionUID = 1L;

    /** @param message the operation, the line of user code that recorded it, and the value */
    public NonFiniteException(String message) {
        super(message);
    }
}
