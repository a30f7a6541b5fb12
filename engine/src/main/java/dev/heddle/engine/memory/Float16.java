// The 16-bit floats as bits.
package dev.heddle.engine.memory;

/** Conversions of bfloat16; those of IEEE binary16 are {@link Float#floatToFloat16} and {@link Float#float16ToFloat}. */
public final class Float16 {
    private Float16() {}

    /** The value of bfloat16 bits. */
    public static float bfloat16(short bits) {
        return Float.intBitsToFloat(bits << 16);
    }

    /** The nearest bfloat16, ties to even; NaN stays NaN. */
    public static short toBfloat16(float value) {
        int bits = Float.floatToRawIntBits(value);
        if (value != value) {
            return (short) (bits >>> 16 | 0x40);
        }
        return (short) (bits + 0x7fff + (bits >>> 16 & 1) >>> 16);
    }
}
