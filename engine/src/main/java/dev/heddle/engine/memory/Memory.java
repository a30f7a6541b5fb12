// Loads and stores at absolute addresses: kernels pass addresses as longs, so that no segment objects are made per call.
package dev.heddle.engine.memory;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * All native memory of the process as one segment. Nothing checks that an address belongs to an allocation; an address
 * that is not a multiple of the element size throws {@link IllegalArgumentException}.
 */
public final class Memory {
    /** The segment that starts at address 0: offsets in it are addresses. */
    public static final MemorySegment ALL = everything();

    /**
     * All bits that an address can have. Of {@code address & ADDRESS} the compiler knows that no vector there reaches beyond the segment, and
     * leaves out the check, which is not only a comparison: it prepares a loop by dozens of instructions an operand.
     */
    public static final long ADDRESS = (1L << 57) - 1;

    private Memory() {
    }

    @SuppressWarnings("restricted")
    private static MemorySegment everything() {
        return MemorySegment.NULL.reinterpret(Long.MAX_VALUE);
    }

    /** Reads one byte. */
    public static byte getByte(long address) {
        return ALL.get(ValueLayout.JAVA_BYTE, address);
    }

    /** Writes one byte. */
    public static void putByte(long address, byte value) {
        ALL.set(ValueLayout.JAVA_BYTE, address, value);
    }

    /** Reads two bytes. */
    public static short getShort(long address) {
        return ALL.get(ValueLayout.JAVA_SHORT, address);
    }

    /** Writes two bytes. */
    public static void putShort(long address, short value) {
        ALL.set(ValueLayout.JAVA_SHORT, address, value);
    }

    /** Reads four bytes. */
    public static int getInt(long address) {
        return ALL.get(ValueLayout.JAVA_INT, address);
    }

    /** Writes four bytes. */
    public static void putInt(long address, int value) {
        ALL.set(ValueLayout.JAVA_INT, address, value);
    }

    /** Reads eight bytes. */
    public static long getLong(long address) {
        return ALL.get(ValueLayout.JAVA_LONG, address);
    }

    /** Writes eight bytes. */
    public static void putLong(long address, long value) {
        ALL.set(ValueLayout.JAVA_LONG, address, value);
    }

    /** Reads a binary32. */
    public static float getFloat(long address) {
        return ALL.get(ValueLayout.JAVA_FLOAT, address);
    }

    /** Writes a binary32. */
    public static void putFloat(long address, float value) {
        ALL.set(ValueLayout.JAVA_FLOAT, address, value);
    }

    /** Reads a binary64. */
    public static double getDouble(long address) {
        return ALL.get(ValueLayout.JAVA_DOUBLE, address);
    }

    /** Writes a binary64. */
    public static void putDouble(long address, double value) {
        ALL.set(ValueLayout.JAVA_DOUBLE, address, value);
    }

    /** Copies {@code bytes} bytes; the two ranges may overlap. */
    public static void copy(long source, long target, long bytes) {
        MemorySegment.copy(ALL, source, ALL, target, bytes);
    }

    /** Sets {@code bytes} bytes to {@code value}. */
    public static void fill(long address, long bytes, byte value) {
        ALL.asSlice(address, bytes).fill(value);
    }
}
