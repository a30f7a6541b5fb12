// The error that keeps recorded recipes honest once parameters have moved on.
package dev.heddle.engine;

/**
 * Thrown when a tensor is read whose recipe needs a {@link Variable}'s value that has been overwritten since. The
 * message names both and says what to do: read or {@code keep()} the tensor before the step, or record it again.
 */
public final class StaleTensorException extends IllegalStateException {
    private static final long serialVersionUID = 1L;

    /** @param message the tensor, the variable and the remedy */
    public StaleTensorException(String message) {
        super(message);
    }
}
