// A kernel call whose arguments lie ready in native memory: at each step only addresses are written, and nothing is allocated.
package dev.heddle.engine.cuda;

import dev.heddle.engine.memory.Memory;
import dev.heddle.engine.plan.Kernel;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** One launch of a compiled kernel on the device's compute stream; a {@link Kernel} of a plan. */
public final class Launch implements Kernel {
    private static final int LARGEST_DEFAULT_SHARED = 48 << 10;

    private final CudaDevice device;
    private final long function;
    private final String name;
    private final int[] grid;
    private final int[] block;
    private final int sharedBytes;
    private final long workspaceBytes;
    private final MemorySegment parameters; // pointers to the values, then the values, 8 bytes each or more
    private final long parametersAddress;
    private final int[] operand; // by pointer argument: the index into the addresses
    private final long[] place; // where its value lies
    private final long[] offset; // what is added to it

    private Launch(Builder b) {
        device = b.device;
        function = b.function;
        name = b.name;
        grid = b.grid;
        block = b.block;
        sharedBytes = b.sharedBytes;
        workspaceBytes = b.workspaceBytes;
        long bytes = 8L * b.values.size();
        for (byte[] value : b.values) {
            bytes += (value.length + 15) & -16;
        }
        parameters = Arena.ofAuto().allocate(bytes + 16, 16);
        parametersAddress = parameters.address();
        long at = (8L * b.values.size() + 15) & -16;
        long[] places = new long[b.values.size()];
        for (int i = 0; i < places.length; i++) {
            MemorySegment.copy(MemorySegment.ofArray(b.values.get(i)), 0, parameters, at, b.values.get(i).length);
            places[i] = parametersAddress + at;
            Memory.putLong(parametersAddress + 8L * i, places[i]);
            at += (b.values.get(i).length + 15) & -16;
        }
        requireSignature(b);
        operand = b.pointers.stream().mapToInt(Pointer::operand).toArray();
        offset = b.pointers.stream().mapToLong(Pointer::offset).toArray();
        place = b.pointers.stream().mapToLong(p -> places[p.argument] + p.within).toArray();
        if (sharedBytes > LARGEST_DEFAULT_SHARED) {
            Driver.funcSetAttribute(function, Driver.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, sharedBytes);
        }
    }

    /** CUDA takes whatever lies behind the pointers it is given: a missing argument would be read from anywhere. */
    private static void requireSignature(Builder b) {
        int[] expected = Driver.funcParamSizes(b.function);
        int[] given = b.values.stream().mapToInt(value -> value.length).toArray();
        boolean fits = expected == null || expected.length == given.length;
        for (int i = 0; fits && expected != null && i < given.length; i++) {
            fits = given[i] == expected[i] || given[i] == Integer.BYTES && expected[i] < Integer.BYTES; // bool and u8 are given as int
        }
        if (!fits) {
            throw new CudaException("kernel " + b.name + " has parameters of " + Arrays.toString(expected) + " bytes, but is given arguments of "
                    + Arrays.toString(given));
        }
    }

    @Override
    public void run(long[] addresses) {
        for (int i = 0; i < operand.length; i++) {
            Memory.putLong(place[i], addresses[operand[i]] + offset[i]);
        }
        try {
            Driver.launchKernel(function, grid[0], grid[1], grid[2], block[0], block[1], block[2], sharedBytes, device.stream,
                    parametersAddress);
            if (CudaBackend.SYNCHRONOUS) {
                Driver.streamSynchronize(device.stream);
            }
        } catch (CudaException e) {
            throw e.in(name);
        }
    }

    @Override
    public long workspaceBytes() {
        return workspaceBytes;
    }

    /** @param within bytes from the argument's beginning */
    private record Pointer(int argument, int within, int operand, long offset) {}

    /** Starts a launch of a kernel. */
    static Builder of(CudaDevice device, long function, String name) {
        return new Builder(device, function, name);
    }

    /** A struct of 64-bit integers. */
    public static final class Struct {
        private final List<Long> words = new ArrayList<>();

        private final List<int[]> pointers = new ArrayList<>(); // word, operand

        /** Adds a member that holds the address of an operand. */
        public Struct pointer(int operand) {
            pointers.add(new int[] {words.size(), operand});
            return add(0);
        }

        /** Adds a member. */
        public Struct add(long word) {
            words.add(word);
            return this;
        }
    }

    /** Arguments are added in the order of the kernel's parameters. */
    public static final class Builder {
        private final CudaDevice device;
        private final long function;
        private final String name;
        private final List<byte[]> values = new ArrayList<>();
        private final List<Pointer> pointers = new ArrayList<>();
        private int[] grid = {1, 1, 1};
        private int[] block = {256, 1, 1};
        private int sharedBytes;
        private long workspaceBytes;

        private Builder(CudaDevice device, long function, String name) {
            this.device = device;
            this.function = function;
            this.name = name;
        }

        /** An address of the call: one of its operands, or behind them its workspace. */
        public Builder pointer(int operand) {
            return pointer(operand, 0);
        }

        /** The same with a distance in bytes added. */
        public Builder pointer(int operand, long offset) {
            pointers.add(new Pointer(values.size(), 0, operand, offset));
            return value(0L);
        }

        /** A 64-bit integer, or an address that stays. */
        public Builder value(long value) {
            return bytes(8, ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN).putLong(0, value));
        }

        /** A 32-bit integer. */
        public Builder value(int value) {
            return bytes(4, ByteBuffer.allocate(4).order(ByteOrder.LITTLE_ENDIAN).putInt(0, value));
        }

        /** A {@code float}. */
        public Builder value(float value) {
            return value(Float.floatToRawIntBits(value));
        }

        /** A {@code double}. */
        public Builder value(double value) {
            return value(Double.doubleToRawLongBits(value));
        }

        /** A struct, passed by value. */
        public Builder struct(Struct struct) {
            ByteBuffer buffer = ByteBuffer.allocate(8 * struct.words.size()).order(ByteOrder.LITTLE_ENDIAN);
            struct.words.forEach(buffer::putLong);
            struct.pointers.forEach(p -> pointers.add(new Pointer(values.size(), 8 * p[0], p[1], 0)));
            return bytes(buffer.capacity(), buffer);
        }

        private Builder bytes(int n, ByteBuffer buffer) {
            values.add(Arrays.copyOf(buffer.array(), n));
            return this;
        }

        /** Number of blocks. */
        public Builder grid(long x, long y, long z) {
            grid = new int[] {Math.toIntExact(x), Math.toIntExact(y), Math.toIntExact(z)};
            return this;
        }

        /** Threads of a block. */
        public Builder block(int x, int y, int z) {
            block = new int[] {x, y, z};
            return this;
        }

        Builder block(int x, int y) {
            return block(x, y, 1);
        }

        /** Dynamic shared memory of a block, in bytes; more than 48 KiB is asked for as CUDA wants it. */
        public Builder shared(int bytes) {
            sharedBytes = bytes;
            return this;
        }

        /** Scratch memory in device memory, whose address comes behind the operands'. */
        public Builder workspace(long bytes) {
            workspaceBytes = bytes;
            return this;
        }

        /** The launch. */
        public Launch build() {
            return new Launch(this);
        }
    }
}
