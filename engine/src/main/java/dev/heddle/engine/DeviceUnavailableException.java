// The error of asking for a device that cannot be used.
package dev.heddle.engine;

/** Thrown when an explicitly named device cannot be used; the message holds the reason. */
public final class DeviceUnavailableException extends IllegalStateException {
    private static final long serialVersionUID = 1L;

    /** @param device the device asked for @param reason why it cannot be used */
    public DeviceUnavailableException(Device device, String reason) {
        super("device " + device + " cannot be used: " + reason);
    }
}
