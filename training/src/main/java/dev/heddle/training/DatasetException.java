// The error of data that is not what it should be.
package dev.heddle.training;

/** Names the file or the sample, what was expected and what was found. */
public final class DatasetException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    /** @param message what is wrong with what */
    public DatasetException(String message) {
        super(message);
    }

    /** @param message what is wrong with what @param cause why */
    public DatasetException(String message, Throwable cause) {
        super(message, cause);
    }
}
