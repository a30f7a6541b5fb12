// Tensors of two devices cannot meet in one operation; moving data is always the caller's decision.
package dev.heddle.engine;

/** An operation was given tensors that live on different devices. */
public final class DeviceMismatchException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    /** Names the operation, the devices and the tensors. */
    public DeviceMismatchException(String message) {
        super(message);
    }
}
