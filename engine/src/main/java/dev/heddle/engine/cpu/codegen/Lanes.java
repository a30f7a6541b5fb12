// Between memory and vectors: every stored type the vector loops read or write, as f32 lanes or as a mask.
package dev.heddle.engine.cpu.codegen;

import static jdk.incubator.vector.VectorOperators.GE;
import static jdk.incubator.vector.VectorOperators.I2F;
import static jdk.incubator.vector.VectorOperators.I2S;
import static jdk.incubator.vector.VectorOperators.LSHL;
import static jdk.incubator.vector.VectorOperators.LSHR;
import static jdk.incubator.vector.VectorOperators.LT;
import static jdk.incubator.vector.VectorOperators.NE;
import static jdk.incubator.vector.VectorOperators.ZERO_EXTEND_B2I;
import static jdk.incubator.vector.VectorOperators.ZERO_EXTEND_S2I;

import dev.heddle.engine.memory.Memory;
import java.nio.ByteOrder;
import jdk.incubator.vector.ByteVector;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.ShortVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorShape;
import jdk.incubator.vector.VectorShuffle;
import jdk.incubator.vector.VectorSpecies;

/**
 * Loads and stores at absolute addresses, whole or only in the first lanes, which a mask names. Code of this class is
 * copied into generated loops by {@link Inliner}, hence no loops and everything package-private.
 */
final class Lanes {
    static final VectorSpecies<Float> S =
            FloatVector.SPECIES_PREFERRED.length() > 16 ? FloatVector.SPECIES_512 : FloatVector.SPECIES_PREFERRED;
    static final VectorSpecies<Integer> INTS = S.withLanes(int.class);
    static final VectorSpecies<Short> SHORTS = VectorSpecies.of(short.class, VectorShape.forBitSize(S.vectorBitSize() / 2));
    /** As many bytes as there are floats, but no vector is shorter than 8: then only the first lanes are used. */
    static final VectorSpecies<Byte> BYTES =
            VectorSpecies.of(byte.class, VectorShape.forBitSize(Math.max(64, S.vectorBitSize() / 4)));
    static final boolean BYTES_FIT = BYTES.length() == S.length();
    static final ByteOrder ORDER = ByteOrder.nativeOrder();
    static final VectorMask<Float> ALL_LANES = S.maskAll(true);
    static final FloatVector ZERO = FloatVector.zero(S);
    static final ByteVector NO_BYTES = ByteVector.zero(BYTES);

    // Shuffles that bring lane l + h to lane l, for every half h of a vector, turning round.
    static final VectorShuffle<Float> BY_8 = VectorShuffle.iota(S, 8, 1, true);
    static final VectorShuffle<Float> BY_4 = VectorShuffle.iota(S, 4, 1, true);
    static final VectorShuffle<Float> BY_2 = VectorShuffle.iota(S, 2, 1, true);
    static final VectorShuffle<Float> BY_1 = VectorShuffle.iota(S, 1, 1, true);

    private Lanes() {}

    // ---- lane l + h to lane l

    static FloatVector by8(FloatVector x) {
        return x.rearrange(BY_8);
    }

    static FloatVector by4(FloatVector x) {
        return x.rearrange(BY_4);
    }

    static FloatVector by2(FloatVector x) {
        return x.rearrange(BY_2);
    }

    static FloatVector by1(FloatVector x) {
        return x.rearrange(BY_1);
    }

    // ---- f32

    static FloatVector loadF32(long address) {
        return FloatVector.fromMemorySegment(S, Memory.ALL, address & Memory.ADDRESS, ORDER);
    }

    static FloatVector loadF32(long address, VectorMask<Float> lanes) {
        return FloatVector.fromMemorySegment(S, Memory.ALL, address & Memory.ADDRESS, ORDER, lanes);
    }

    static void storeF32(FloatVector x, long address) {
        x.intoMemorySegment(Memory.ALL, address & Memory.ADDRESS, ORDER);
    }

    static void storeF32(FloatVector x, long address, VectorMask<Float> lanes) {
        x.intoMemorySegment(Memory.ALL, address & Memory.ADDRESS, ORDER, lanes);
    }

    static FloatVector broadcastF32(long address) {
        return FloatVector.broadcast(S, Memory.getFloat(address));
    }

    // ---- bf16: the upper half of an f32

    static FloatVector loadBF16(long address) {
        return fromBF16(ShortVector.fromMemorySegment(SHORTS, Memory.ALL, address & Memory.ADDRESS, ORDER));
    }

    static FloatVector loadBF16(long address, VectorMask<Float> lanes) {
        return fromBF16(ShortVector.fromMemorySegment(SHORTS, Memory.ALL, address & Memory.ADDRESS, ORDER, lanes.cast(SHORTS)));
    }

    static void storeBF16(FloatVector x, long address) {
        toBF16(x).intoMemorySegment(Memory.ALL, address & Memory.ADDRESS, ORDER);
    }

    static void storeBF16(FloatVector x, long address, VectorMask<Float> lanes) {
        toBF16(x).intoMemorySegment(Memory.ALL, address & Memory.ADDRESS, ORDER, lanes.cast(SHORTS));
    }

    static FloatVector broadcastBF16(long address) {
        return FloatVector.broadcast(S, ScalarMath.fromBf16(Memory.getShort(address)));
    }

    static FloatVector fromBF16(ShortVector x) {
        return ((IntVector) x.convertShape(ZERO_EXTEND_S2I, INTS, 0)).lanewise(LSHL, 16).reinterpretAsFloats();
    }

    /** The bits of the nearest bf16, ties to even, in the lower halves of ints; NaN becomes a quiet NaN. */
    static IntVector bitsBF16(FloatVector x) {
        IntVector bits = x.reinterpretAsInts();
        IntVector upper = bits.lanewise(LSHR, 16);
        IntVector rounded = bits.add(0x7fff).add(upper.and(1)).lanewise(LSHR, 16);
        return rounded.blend(upper.or(0x40), x.compare(NE, x).cast(INTS));
    }

    static ShortVector toBF16(FloatVector x) {
        return (ShortVector) bitsBF16(x).convertShape(I2S, SHORTS, 0);
    }

    /** Rounded to bf16. */
    static FloatVector roundBF16(FloatVector x) {
        return bitsBF16(x).lanewise(LSHL, 16).reinterpretAsFloats();
    }

    // ---- f16: 5 bits of exponent, 10 of mantissa; shifted left by 13 bits it is an f32 too small by 2^112

    static final FloatVector TWO_TO_112 = FloatVector.broadcast(S, 0x1p112f);
    static final FloatVector F16_MIN_NORMAL = FloatVector.broadcast(S, 0x1p-14f);
    static final FloatVector F16_OVERFLOW = FloatVector.broadcast(S, 65520f); // from here on the nearest is infinity
    static final FloatVector HALF = FloatVector.broadcast(S, 0.5f);
    static final int SIGN_BIT = 0x80000000;
    static final int INFINITY_BITS = 0x7f800000;
    static final int HALF_BITS = 0x3f000000;

    static FloatVector loadF16(long address) {
        return fromF16(ShortVector.fromMemorySegment(SHORTS, Memory.ALL, address & Memory.ADDRESS, ORDER));
    }

    static FloatVector loadF16(long address, VectorMask<Float> lanes) {
        return fromF16(ShortVector.fromMemorySegment(SHORTS, Memory.ALL, address & Memory.ADDRESS, ORDER, lanes.cast(SHORTS)));
    }

    static void storeF16(FloatVector x, long address) {
        toF16(x).intoMemorySegment(Memory.ALL, address & Memory.ADDRESS, ORDER);
    }

    static void storeF16(FloatVector x, long address, VectorMask<Float> lanes) {
        toF16(x).intoMemorySegment(Memory.ALL, address & Memory.ADDRESS, ORDER, lanes.cast(SHORTS));
    }

    static FloatVector broadcastF16(long address) {
        return FloatVector.broadcast(S, Float.float16ToFloat(Memory.getShort(address)));
    }

    static FloatVector fromF16(ShortVector x) {
        return fromBitsF16((IntVector) x.convertShape(ZERO_EXTEND_S2I, INTS, 0));
    }

    static FloatVector fromBitsF16(IntVector bits) {
        IntVector magnitude = bits.and(0x7fff);
        IntVector scaled = magnitude.lanewise(LSHL, 13).reinterpretAsFloats().mul(TWO_TO_112).reinterpretAsInts();
        IntVector value = scaled.blend(scaled.or(INFINITY_BITS), magnitude.compare(GE, 0x7c00));
        return bits.and(0x8000).lanewise(LSHL, 16).or(value).reinterpretAsFloats();
    }

    /** The bits of the nearest f16, ties to even, in the lower halves of ints; NaN becomes a quiet NaN. */
    static IntVector bitsF16(FloatVector x) {
        FloatVector magnitude = x.abs();
        IntVector bits = magnitude.reinterpretAsInts();
        IntVector odd = bits.lanewise(LSHR, 13).and(1);
        IntVector normal = bits.add(odd).sub(0x38000000 - 0xfff).lanewise(LSHR, 13); // exponent bias 127 to 15
        IntVector denormal = magnitude.add(HALF).reinterpretAsInts().sub(HALF_BITS); // 0.5's last bit is 2^-24
        IntVector finite = normal.blend(denormal, magnitude.compare(LT, F16_MIN_NORMAL).cast(INTS));
        IntVector value = finite.blend(0x7c00, magnitude.compare(GE, F16_OVERFLOW).cast(INTS));
        IntVector number = value.blend(0x7e00, x.compare(NE, x).cast(INTS));
        return x.reinterpretAsInts().lanewise(LSHR, 16).and(0x8000).or(number);
    }

    static ShortVector toF16(FloatVector x) {
        return (ShortVector) bitsF16(x).convertShape(I2S, SHORTS, 0);
    }

    /** Rounded to f16. */
    static FloatVector roundF16(FloatVector x) {
        return fromBitsF16(bitsF16(x));
    }

    // ---- u8, read only

    static FloatVector loadU8(long address) {
        return BYTES_FIT ? fromU8(ByteVector.fromMemorySegment(BYTES, Memory.ALL, address & Memory.ADDRESS, ORDER))
                : loadU8(address, ALL_LANES);
    }

    static FloatVector loadU8(long address, VectorMask<Float> lanes) {
        return fromU8(ByteVector.fromMemorySegment(BYTES, Memory.ALL, address & Memory.ADDRESS, ORDER, byteLanes(lanes)));
    }

    static FloatVector broadcastU8(long address) {
        return FloatVector.broadcast(S, Memory.getByte(address) & 0xff);
    }

    static FloatVector fromU8(ByteVector x) {
        return (FloatVector) ((IntVector) x.convertShape(ZERO_EXTEND_B2I, INTS, 0)).convert(I2F, 0);
    }

    static VectorMask<Byte> byteLanes(VectorMask<Float> lanes) {
        return BYTES_FIT ? lanes.cast(BYTES) : VectorMask.fromLong(BYTES, lanes.toLong());
    }

    // ---- bool: a byte that is 0 or 1

    static VectorMask<Float> loadBOOL(long address) {
        return BYTES_FIT ? ByteVector.fromMemorySegment(BYTES, Memory.ALL, address & Memory.ADDRESS, ORDER).compare(NE, (byte) 0).cast(S)
                : loadBOOL(address, ALL_LANES);
    }

    static VectorMask<Float> loadBOOL(long address, VectorMask<Float> lanes) {
        ByteVector bytes = ByteVector.fromMemorySegment(BYTES, Memory.ALL, address & Memory.ADDRESS, ORDER, byteLanes(lanes));
        VectorMask<Byte> set = bytes.compare(NE, (byte) 0);
        return BYTES_FIT ? set.cast(S) : VectorMask.fromLong(S, set.toLong());
    }

    static void storeBOOL(VectorMask<Float> x, long address) {
        if (BYTES_FIT) {
            NO_BYTES.blend((byte) 1, byteLanes(x)).intoMemorySegment(Memory.ALL, address & Memory.ADDRESS, ORDER);
        } else {
            storeBOOL(x, address, ALL_LANES);
        }
    }

    static void storeBOOL(VectorMask<Float> x, long address, VectorMask<Float> lanes) {
        NO_BYTES.blend((byte) 1, byteLanes(x)).intoMemorySegment(Memory.ALL, address & Memory.ADDRESS, ORDER, byteLanes(lanes));
    }

    static VectorMask<Float> broadcastBOOL(long address) {
        return S.maskAll(Memory.getByte(address) != 0);
    }

    static FloatVector fromMask(VectorMask<Float> x) {
        return ZERO.blend(1f, x);
    }

    static VectorMask<Float> toMask(FloatVector x) {
        return x.compare(NE, ZERO);
    }

    /** The first {@code to - from} lanes. */
    static VectorMask<Float> first(int from, int to) {
        return S.indexInRange(from, to);
    }
}
