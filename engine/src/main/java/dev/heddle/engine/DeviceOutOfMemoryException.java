// What every allocator throws when a device has no memory left, so that callers can free something and try again.
package dev.heddle.engine;

/** A device has not enough memory for an allocation, even after everything cached was given back. */
public final class DeviceOutOfMemoryException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    /** Names the device, the size asked for and what is in use. */
    public DeviceOutOfMemoryException(String message) {
        super(message);
    }
}
