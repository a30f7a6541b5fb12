// Where tensors live and ops run.
package dev.heddle.engine;

import java.util.Locale;

/** A compute device: the CPU, or the {@code index}-th CUDA GPU. */
public record Device(Type type, int index) {
    /** Kinds of device. */
    public enum Type { CPU, CUDA }

    private static final Device CPU = new Device(Type.CPU, 0);

    /** The CPU. */
    public static Device cpu() {
        return CPU;
    }

    /** The fastest device that can be used: the first CUDA GPU if there is a backend for it, otherwise the CPU. */
    public static Device best() {
        return CPU;
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
            int index = name.length() > 4 ? Integer.parseInt(name.substring(5)) : 0;
            throw new DeviceUnavailableException(new Device(Type.CUDA, index),
                    "this version of Heddle has no CUDA backend yet; use --device cpu");
        }
        throw new IllegalArgumentException("device: expected auto, cpu, cuda or cuda:N, got '" + text + "'");
    }

    /** {@code cpu} or {@code cuda:N}. */
    @Override
    public String toString() {
        return type == Type.CPU ? "cpu" : "cuda:" + index;
    }
}
