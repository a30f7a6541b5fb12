// Random operands for tests of native code.
package dev.heddle.engine.cpu;

import dev.heddle.engine.DType;
import dev.heddle.engine.memory.Memory;
import dev.heddle.engine.memory.NativeMemory;
import java.util.Random;

/** {@code size} numbers of a float type in native memory, 64-byte aligned. */
record NativeFloats(DType dtype, long size, long address) implements AutoCloseable {
    /** Uniform in [-1, 1), rounded towards zero to the type. */
    static NativeFloats random(DType dtype, long size, long seed) {
        var floats = new NativeFloats(dtype, size, NativeMemory.allocate(size * dtype.bytes()));
        var random = new Random(seed);
        for (long i = 0; i < size; i++) {
            floats.put(i, random.nextFloat() * 2 - 1);
        }
        return floats;
    }

    /** All NaN, for what must be overwritten. */
    static NativeFloats nan(DType dtype, long size) {
        var floats = new NativeFloats(dtype, size, NativeMemory.allocate(size * dtype.bytes()));
        Memory.fill(floats.address, size * dtype.bytes(), (byte) -1);
        return floats;
    }

    void put(long i, float value) {
        switch (dtype) {
            case F32 -> Memory.putFloat(address + 4 * i, value);
            case BF16 -> Memory.putShort(address + 2 * i, (short) (Float.floatToRawIntBits(value) >> 16));
            default -> Memory.putShort(address + 2 * i, Float.floatToFloat16(value));
        }
    }

    float get(long i) {
        return switch (dtype) {
            case F32 -> Memory.getFloat(address + 4 * i);
            case BF16 -> Float.intBitsToFloat(Memory.getShort(address + 2 * i) << 16);
            default -> Float.float16ToFloat(Memory.getShort(address + 2 * i));
        };
    }

    @Override
    public void close() {
        NativeMemory.free(address, size * dtype.bytes());
    }
}
