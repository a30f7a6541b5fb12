// Test operands: native memory seen through layouts of many kinds.
package dev.heddle.engine.cpu.codegen;

import dev.heddle.engine.DType;
import dev.heddle.engine.Shape;
import dev.heddle.engine.memory.Memory;
import dev.heddle.engine.op.Spec;
import dev.heddle.engine.plan.Layout;
import java.lang.foreign.Arena;
import java.util.Random;

/** Elements in memory. Every kind of layout lies in a block of its own, with a guard behind it that must not change. */
record View(Layout layout, long start, long bytes) {
    /** How the elements lie. */
    enum Kind { CONTIGUOUS, TRANSPOSED, FLIPPED, STRIDED, BROADCAST, SCALAR }

    private static final int GUARD = 64;
    private static final double[] SPECIAL = {0, -0.0, 1, -1, Double.NaN, Double.POSITIVE_INFINITY, Double.NEGATIVE_INFINITY,
        1e-40, 65519, 65520, 3e9, -1e19, 0.5, 2.5};

    /** Uninitialised elements. */
    static View of(Arena arena, DType dtype, Shape shape, Kind kind) {
        int rank = shape.rank();
        Layout layout = switch (kind) {
            case CONTIGUOUS -> Layout.contiguous(new Spec(dtype, shape));
            case TRANSPOSED -> {
                int[] order = new int[rank];
                long[] dims = new long[rank];
                for (int i = 0; i < rank; i++) {
                    order[i] = rank - 1 - i;
                    dims[i] = shape.dim(rank - 1 - i);
                }
                yield Layout.contiguous(new Spec(dtype, Shape.of(dims))).permute(order);
            }
            case FLIPPED -> {
                Layout flipped = Layout.contiguous(new Spec(dtype, shape));
                for (int i = 0; i < rank; i++) {
                    flipped = flipped.flip(i);
                }
                yield flipped;
            }
            case STRIDED -> {
                long[] dims = shape.dims();
                long[] starts = new long[rank];
                long[] steps = new long[rank];
                for (int i = 0; i < rank; i++) {
                    starts[i] = 1;
                    steps[i] = i == rank - 1 ? 3 : 2;
                    dims[i] = 1 + steps[i] * dims[i];
                }
                yield Layout.contiguous(new Spec(dtype, Shape.of(dims))).slice(starts, shape.dims(), steps);
            }
            case BROADCAST -> rank == 0 ? Layout.contiguous(new Spec(dtype, shape))
                    : Layout.contiguous(new Spec(dtype, shape.with(0, Math.min(1, shape.dim(0))))).expand(shape);
            case SCALAR -> new Layout(dtype, shape, new long[rank], 0);
        };
        long elements = 1;
        for (int i = 0; i < rank; i++) {
            elements *= kind == Kind.STRIDED ? 3 * shape.dim(i) + 1 : Math.max(1, shape.dim(i));
        }
        long bytes = elements * dtype.bytes();
        long start = arena.allocate(bytes + GUARD, 64).address();
        Memory.fill(start, bytes + GUARD, (byte) 0x5a);
        return new View(layout, start, bytes);
    }

    /** Random elements, special values among them. */
    static View random(Arena arena, DType dtype, Shape shape, Kind kind, Random random) {
        View view = of(arena, dtype, shape, kind);
        for (long i = 0; i < shape.elements(); i++) {
            view.set(i, randomValue(dtype, random));
        }
        return view;
    }

    private static Object randomValue(DType dtype, Random random) {
        return switch (dtype) {
            case F64, F32, BF16, F16 -> {
                double x = random.nextInt(8) == 0 ? SPECIAL[random.nextInt(SPECIAL.length)] : random.nextGaussian() * 3;
                yield dtype == DType.F64 ? (Object) x : (Object) (float) x;
            }
            case I64 -> random.nextInt(4) == 0 ? random.nextLong() : (long) random.nextInt(-5, 6);
            case I32 -> (long) (random.nextInt(4) == 0 ? random.nextInt() : random.nextInt(-5, 6));
            case U8 -> (long) random.nextInt(256);
            case BOOL -> (long) random.nextInt(2);
        };
    }

    /** Address of the first element. */
    long address() {
        return start + layout.byteOffset();
    }

    private long address(long index) {
        long address = address();
        for (int i = layout.shape().rank() - 1; i >= 0; i--) {
            long dim = layout.shape().dim(i);
            address += index % dim * layout.stride(i) * layout.dtype().bytes();
            index /= dim;
        }
        return address;
    }

    /** The element at a place in row-major order: a {@code Double}, {@code Float} or {@code Long}. */
    Object get(long index) {
        long at = address(index);
        return switch (layout.dtype()) {
            case F64 -> Memory.getDouble(at);
            case F32 -> Memory.getFloat(at);
            case BF16 -> Float.intBitsToFloat(Memory.getShort(at) << 16);
            case F16 -> Float.float16ToFloat(Memory.getShort(at));
            case I64 -> Memory.getLong(at);
            case I32 -> (long) Memory.getInt(at);
            case U8, BOOL -> (long) (Memory.getByte(at) & 0xff);
        };
    }

    void set(long index, Object value) {
        long at = address(index);
        Object stored = Interpreter.round(value, layout.dtype());
        switch (layout.dtype()) {
            case F64 -> Memory.putDouble(at, (Double) stored);
            case F32 -> Memory.putFloat(at, (Float) stored);
            case BF16 -> Memory.putShort(at, (short) (Float.floatToRawIntBits((Float) stored) >>> 16));
            case F16 -> Memory.putShort(at, Float.floatToFloat16((Float) stored));
            case I64 -> Memory.putLong(at, (Long) stored);
            case I32 -> Memory.putInt(at, (int) (long) (Long) stored);
            case U8, BOOL -> Memory.putByte(at, (byte) (long) (Long) stored);
        }
    }

    /** Whether nothing was written behind the elements. */
    boolean guarded() {
        for (int i = 0; i < GUARD; i++) {
            if (Memory.getByte(start + bytes + i) != 0x5a) {
                return false;
            }
        }
        return true;
    }

    /** All bits of the elements, NaNs made alike. */
    long[] bits() {
        long[] bits = new long[(int) layout.shape().elements()];
        for (int i = 0; i < bits.length; i++) {
            Object value = get(i);
            bits[i] = value instanceof Long x ? x : Double.doubleToLongBits(((Number) value).doubleValue());
        }
        return bits;
    }
}
