// Where tensors live and ops run.
package dev.heddle.engine;

import dev.heddle.engine.cuda.CudaBackend;
import java.util.Locale;

/** A compute device: the CPU, or the {@code index}-th CUDA GPU. */
public record Device(Type type, int index) {
    /** Kinds of device. */
    public enum Type { CPU, CUDA }

    private static final Device CPU = new Device(Type.CPU, 0);
    private static final ThreadLocal<Device> ENTERED = new ThreadLocal<>();
    private static volatile Device current; // null until somebody asks

    /** The CPU. */
    public static Device cpu() {
        return CPU;
    }

    /** The fastest device that can be used: the first CUDA GPU if there is one that works, otherwise the CPU. */
    public static Device best() {
        return CudaBackend.unavailable(0) == null ? new Device(Type.CUDA, 0) : CPU;
    }

    /**
     * Where new tensors and variables are made: what {@link #use} said last, at first what {@code -Dheddle.device} names, by
     * default the CPU.
     *
     * @throws DeviceUnavailableException if the device that the property names cannot be used
     */
    public static Device current() {
        Device entered = ENTERED.get();
        if (entered != null) {
            return entered;
        }
        if (current == null) {
            current = parse(System.getProperty("heddle.device", "cpu"));
        }
        return current;
    }

    /**
     * Makes this the device of all tensors and variables that are made from now on, by any thread.
     *
     * @throws DeviceUnavailableException if it cannot be used
     */
    public static void use(Device device) {
        Runtime.of(device);
        current = device;
    }

    /** Runs code whose new tensors and variables are made on a device, on this thread. */
    public static void with(Device device, Runnable code) {
        Device outer = enter(device);
        try {
            code.run();
        } finally {
            leave(outer);
        }
    }

    /** Makes tensors on a device, on this thread, until {@link #leave}. */
    static Device enter(Device device) {
        Device outer = ENTERED.get();
        ENTERED.set(device);
        return outer;
    }

    static void leave(Device outer) {
        ENTERED.set(outer);
    }

    /**
     * Parses {@code cpu}, {@code cuda} or {@code cuda:N}; {@code auto} is {@link #best()}.
     *
     * @throws IllegalArgumentException if the text is none of these
     * @throws DeviceUnavailableException if the device cannot be used, with the reason; it never falls back
     */
    public static Device parse(String text) {
        String name = text.toLowerCase(Locale.ROOT);
        if (name.equals("auto")) {
            return best();
        }
        if (name.equals("cpu")) {
            return CPU;
        }
        if (name.matches("cuda(:\\d{1,3})?")) {
            Device device = new Device(Type.CUDA, name.length() > 4 ? Integer.parseInt(name.substring(5)) : 0);
            String reason = CudaBackend.unavailable(device.index);
            if (reason != null) {
                throw new DeviceUnavailableException(device, reason);
            }
            return device;
        }
        throw new IllegalArgumentException("device: expected auto, cpu, cuda or cuda:N, got '" + text + "'");
    }

    /** {@code cpu} or {@code cuda:N}. */
    @Override
    public String toString() {
        return type == Type.CPU ? "cpu" : "cuda:" + index;
    }
}
