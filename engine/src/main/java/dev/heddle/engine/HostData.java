// Between Java arrays and tensors.
package dev.heddle.engine;

import dev.heddle.engine.memory.Buffer;
import dev.heddle.engine.memory.DeviceMemory;
import dev.heddle.engine.memory.Float16;
import dev.heddle.engine.memory.Memory;
import dev.heddle.engine.memory.NativeMemory;
import dev.heddle.engine.op.Source;
import dev.heddle.engine.op.Spec;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.ref.Reference;
import java.util.Arrays;
import java.util.List;
import java.util.function.LongFunction;

/** Copies values in and out. */
final class HostData {
    private HostData() {}

    /** A DATA leaf with a copy of a primitive array. */
    static Tensor upload(Object array, int length, DType dtype, Shape shape) {
        if (shape.elements() != length) {
            throw new ShapeException("of: " + length + " values for shape " + shape + " of " + shape.elements() + " elements");
        }
        if (array instanceof boolean[] values) {
            byte[] bytes = new byte[length];
            for (int i = 0; i < length; i++) {
                bytes[i] = (byte) (values[i] ? 1 : 0);
            }
            return upload(MemorySegment.ofArray(bytes), dtype, shape);
        }
        return upload(segment(array), dtype, shape);
    }

    /** A DATA leaf with a copy of raw values. */
    static Tensor upload(MemorySegment values, DType dtype, Shape shape) {
        Spec spec = new Spec(dtype, shape);
        if (values.byteSize() != spec.bytes()) {
            throw new ShapeException("of: " + values.byteSize() + " bytes for " + spec + ", which has " + spec.bytes());
        }
        return leaf(values, spec, Device.current());
    }

    private static Tensor leaf(MemorySegment values, Spec spec, Device device) {
        DeviceMemory memory = Runtime.of(device).memory();
        Buffer buffer = Buffer.allocate(memory, spec.bytes(), Debug.trace() ? "tensor " + spec + " made at " + Evaluation.userCode() : spec);
        memory.upload(values, buffer.address());
        return leaf(buffer, spec, device);
    }

    /** A DATA leaf whose contiguous values lie in a buffer. */
    static Tensor leaf(Buffer buffer, Spec spec, Device device) {
        Node node = new Node(Source.DATA, Node.NO_INPUTS, List.of(spec), false);
        node.device = device;
        node.evaluated(0, buffer);
        return new Tensor(node, 0);
    }

    /** A leaf with the same values on another device. */
    static Tensor move(Tensor x, Device device) {
        return onHost(x, address -> leaf(Memory.ALL.asSlice(address, x.spec().bytes()), x.spec(), device));
    }

    static void copyTo(Tensor x, MemorySegment target) {
        Buffer buffer = Evaluation.read(x);
        buffer.memory().download(buffer.address(), target.asSlice(0, x.spec().bytes()));
    }

    /** Gives a function the address, in host memory, of the evaluated, still valid value. */
    static <T> T onHost(Tensor x, LongFunction<T> use) {
        Buffer buffer = Evaluation.read(x);
        try {
            return onHost(buffer.memory(), buffer.address(), x.spec().bytes(), use);
        } finally {
            Reference.reachabilityFence(buffer);
        }
    }

    /** Gives a function the address of a copy, in host memory, of device memory; of that itself if it is the host's. */
    static <T> T onHost(DeviceMemory memory, long address, long bytes, LongFunction<T> use) {
        if (memory == DeviceMemory.CPU) {
            return use.apply(address);
        }
        long copy = NativeMemory.allocate(bytes);
        try {
            memory.download(address, Memory.ALL.asSlice(copy, bytes));
            return use.apply(copy);
        } finally {
            NativeMemory.free(copy, bytes);
        }
    }

    private static MemorySegment segment(Object array) {
        return switch (array) {
            case float[] values -> MemorySegment.ofArray(values);
            case double[] values -> MemorySegment.ofArray(values);
            case long[] values -> MemorySegment.ofArray(values);
            case int[] values -> MemorySegment.ofArray(values);
            case byte[] values -> MemorySegment.ofArray(values);
            default -> throw new IllegalArgumentException("of: " + array.getClass());
        };
    }

    static double item(Tensor x) {
        if (x.node.op == Source.SCALAR) {
            return x.dtype().isFloat() ? round(x.node.scalar, x.dtype()) : x.node.integer;
        }
        return toDoubleArray(x)[0];
    }

    /** A double as the dtype holds it. */
    static double round(double value, DType dtype) {
        return switch (dtype) {
            case F64 -> value;
            case F32 -> (float) value;
            case BF16 -> Float16.bfloat16(Float16.toBfloat16((float) value));
            case F16 -> Float.float16ToFloat(Float.floatToFloat16((float) value));
            case I64, I32, U8, BOOL -> (long) value;
        };
    }

    static float[] toFloatArray(Tensor x) {
        int n = Math.toIntExact(x.elements());
        float[] values = new float[n];
        if (x.dtype() == DType.F32) {
            copyTo(x, MemorySegment.ofArray(values));
            return values;
        }
        double[] wide = toDoubleArray(x);
        for (int i = 0; i < n; i++) {
            values[i] = (float) wide[i];
        }
        return values;
    }

    static double[] toDoubleArray(Tensor x) {
        return onHost(x, address -> decodeDoubles(x.spec(), address));
    }

    /** Contiguous memory as {@code long[]} for {@code I64}, {@code double[]} for the other dtypes. */
    static Object decode(Spec spec, long address) {
        return spec.dtype() == DType.I64 ? decodeLongs(spec, address) : decodeDoubles(spec, address);
    }

    /** A scalar's bits likewise, as an array of one element. */
    static Object decode(long bits, DType dtype) {
        return switch (dtype) {
            case I64 -> new long[] {bits};
            case F64 -> new double[] {Double.longBitsToDouble(bits)};
            case F32 -> new double[] {Float.intBitsToFloat((int) bits)};
            case BF16 -> new double[] {Float16.bfloat16((short) bits)};
            case F16 -> new double[] {Float.float16ToFloat((short) bits)};
            case I32, U8, BOOL -> new double[] {bits};
        };
    }

    private static long[] decodeLongs(Spec spec, long address) {
        long[] values = new long[Math.toIntExact(spec.shape().elements())];
        MemorySegment.copy(Memory.ALL, ValueLayout.JAVA_LONG, address, values, 0, values.length);
        return values;
    }

    private static double[] decodeDoubles(Spec spec, long address) {
        double[] values = new double[Math.toIntExact(spec.shape().elements())];
        switch (spec.dtype()) {
            case F64 -> MemorySegment.copy(Memory.ALL, ValueLayout.JAVA_DOUBLE, address, values, 0, values.length);
            case F32 -> Arrays.setAll(values, i -> Memory.getFloat(address + 4L * i));
            case BF16 -> Arrays.setAll(values, i -> Float16.bfloat16(Memory.getShort(address + 2L * i)));
            case F16 -> Arrays.setAll(values, i -> Float.float16ToFloat(Memory.getShort(address + 2L * i)));
            case I64 -> Arrays.setAll(values, i -> Memory.getLong(address + 8L * i));
            case I32 -> Arrays.setAll(values, i -> Memory.getInt(address + 4L * i));
            case U8, BOOL -> Arrays.setAll(values, i -> Memory.getByte(address + i) & 0xff);
        }
        return values;
    }

    static long[] toLongArray(Tensor x) {
        if (x.dtype() != DType.I64) {
            return Arrays.stream(toDoubleArray(x)).mapToLong(v -> (long) v).toArray();
        }
        return onHost(x, address -> decodeLongs(x.spec(), address));
    }
}
