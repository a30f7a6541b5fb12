// One planned oneDNN operation, ready to run: memory objects are made once, each run only sets where they lie.
package dev.heddle.engine.cpu;

import dev.heddle.engine.memory.Memory;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.ref.Cleaner;
import java.lang.ref.Reference;

/**
 * A {@code dnnl_primitive_t} with a memory object for each argument and for its scratchpad. Not thread-safe: set the
 * addresses and execute from one thread at a time. The native objects go when this one becomes unreachable.
 */
final class OneDnnPrimitive {
    static final int SRC = 1;
    static final int DST = 17;
    static final int WEIGHTS = 33;
    static final int BIAS = 41;
    static final int WORKSPACE = 64;
    static final int DIFF_SRC = 129;
    static final int DIFF_DST = 145;
    static final int DIFF_WEIGHTS = 161;

    private static final int SCRATCHPAD = 80;
    private static final int QUERY_IMPL_INFO_STR = 8;
    private static final int QUERY_EXEC_ARG_MD = 255;
    private static final int STREAM_IN_ORDER = 1;
    private static final int EXEC_ARG_BYTES = 16;
    private static final Cleaner CLEANER = Cleaner.create();

    private final Objects objects;
    private final int count;
    private final long scratchBytes;

    /**
     * Makes the primitive of a descriptor, which is owned from now on.
     *
     * @param arguments the {@code DNNL_ARG_} numbers of what {@link #set} will number 0, 1, ...;
     *     {@code DNNL_ARG_SCRATCHPAD} is added to them
     */
    OneDnnPrimitive(long descriptor, int... arguments) {
        count = arguments.length + 1;
        objects = new Objects(descriptor, count);
        CLEANER.register(this, objects);
        objects.stream = OneDnnApi.create("dnnl_stream_create", OneDnnApi.ENGINE, STREAM_IN_ORDER);
        objects.primitive = OneDnnApi.create("dnnl_primitive_create", descriptor);
        for (int i = 0; i < count; i++) {
            int argument = i < arguments.length ? arguments[i] : SCRATCHPAD;
            objects.memories[i] = OneDnnApi.create("dnnl_memory_create", layout(argument), OneDnnApi.ENGINE, 0L);
            Memory.putInt(objects.arguments + (long) EXEC_ARG_BYTES * i, argument);
            Memory.putLong(objects.arguments + (long) EXEC_ARG_BYTES * i + 8, objects.memories[i]);
        }
        scratchBytes = OneDnnApi.bytes(layout(SCRATCHPAD));
    }

    /** Bytes of scratch memory that {@link #execute} needs. */
    long scratchBytes() {
        return scratchBytes;
    }

    /** The memory descriptor of an argument, which belongs to this primitive. */
    long layout(int argument) {
        return OneDnnApi.descriptorOf(objects.descriptor, QUERY_EXEC_ARG_MD, argument);
    }

    /** Says where argument number {@code index} lies. */
    void set(int index, long address) {
        OneDnnApi.setDataHandle(objects.memories[index], address);
    }

    /** Runs on the calling thread, with {@code scratch} of {@link #scratchBytes()} bytes, 64-byte aligned. */
    void execute(long scratch) {
        OneDnnApi.setDataHandle(objects.memories[count - 1], scratch);
        OneDnnApi.execute(objects.primitive, objects.stream, count, objects.arguments);
        Reference.reachabilityFence(this);
    }

    /** What oneDNN calls the implementation behind a descriptor; reference ones begin with {@code ref}. */
    static String implementation(long descriptor) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment name = arena.allocate(ValueLayout.JAVA_LONG);
            OneDnnApi.call("dnnl_primitive_desc_query", descriptor, QUERY_IMPL_INFO_STR, 0, name);
            return Memory.ALL.getString(name.get(ValueLayout.JAVA_LONG, 0));
        }
    }

    /** The native objects, apart from what makes them unreachable. */
    private static final class Objects implements Runnable {
        private final long descriptor;
        private final Arena arena = Arena.ofShared();
        private final long arguments;
        private final long[] memories;
        private long stream;
        private long primitive;

        Objects(long descriptor, int count) {
            this.descriptor = descriptor;
            arguments = arena.allocate((long) EXEC_ARG_BYTES * count, 8).address();
            memories = new long[count];
        }

        @Override
        public void run() {
            for (long memory : memories) {
                destroy("dnnl_memory_destroy", memory);
            }
            destroy("dnnl_primitive_destroy", primitive);
            destroy("dnnl_stream_destroy", stream);
            destroy("dnnl_primitive_desc_destroy", descriptor);
            arena.close();
        }

        private static void destroy(String destructor, long object) {
            if (object != 0) {
                OneDnnApi.call(destructor, object);
            }
        }
    }
}
