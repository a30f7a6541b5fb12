// oneDNN's C API on raw pointers. Functions that run at every step have a constant method handle; those that plan are
// called by name, with a signature read off the arguments, because a hundred declarations would say nothing more.
package dev.heddle.engine.cpu;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import dev.heddle.engine.DeviceOutOfMemoryException;
import dev.heddle.engine.memory.Memory;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.invoke.MethodHandle;
import java.util.Arrays;
import java.util.concurrent.ConcurrentHashMap;

/**
 * The class initialises only where the library loads ({@link OneDnn#available()} sees to that). The library is told to use
 * one thread before each call that computes or plans: parallelism is {@link WorkerPool}'s.
 */
@SuppressWarnings("restricted")
final class OneDnnApi {
    static final int SUCCESS = 0;
    static final int UNIMPLEMENTED = 3;
    private static final int OUT_OF_MEMORY = 1;
    private static final String[] STATUS = {"success", "out of memory", "invalid arguments", "unimplemented",
        "last implementation reached", "runtime error", "not required"};

    private static final Linker LINKER = Linker.nativeLinker();
    private static final SymbolLookup LIBRARY = load();
    private static final ConcurrentHashMap<String, MethodHandle> BY_NAME = new ConcurrentHashMap<>();

    private static final MethodHandle OMP_SET_NUM_THREADS = LINKER.downcallHandle(
            LIBRARY.findOrThrow("omp_set_num_threads"), FunctionDescriptor.ofVoid(JAVA_INT), Linker.Option.critical(false));
    private static final MethodHandle SGEMM = hot("dnnl_sgemm", JAVA_BYTE, JAVA_BYTE, JAVA_LONG, JAVA_LONG, JAVA_LONG,
            JAVA_FLOAT, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_FLOAT, JAVA_LONG, JAVA_LONG);
    private static final MethodHandle SET_DATA_HANDLE = hot("dnnl_memory_set_data_handle", JAVA_LONG, JAVA_LONG);
    private static final MethodHandle EXECUTE = hot("dnnl_primitive_execute", JAVA_LONG, JAVA_LONG, JAVA_INT, JAVA_LONG);

    private static final MethodHandle MD_SIZE = LINKER.downcallHandle(
            LIBRARY.findOrThrow("dnnl_memory_desc_get_size"), FunctionDescriptor.of(JAVA_LONG, JAVA_LONG));
    private static final MethodHandle QUERY_MD = LINKER.downcallHandle(
            LIBRARY.findOrThrow("dnnl_primitive_desc_query_md"),
            FunctionDescriptor.of(JAVA_LONG, JAVA_LONG, JAVA_INT, JAVA_INT));

    /** The {@code dnnl_engine_t} of the CPU, which lives as long as the process. */
    static final long ENGINE = createEngine();

    private OneDnnApi() {
    }

    private static SymbolLookup load() {
        try {
            return OneDnnLibrary.load();
        } catch (IOException e) {
            throw new IllegalStateException(e.getMessage(), e);
        }
    }

    private static MethodHandle hot(String function, MemoryLayout... parameters) {
        return LINKER.downcallHandle(LIBRARY.findOrThrow(function), FunctionDescriptor.of(JAVA_INT, parameters));
    }

    private static long createEngine() {
        int cpu = 1;
        return create("dnnl_engine_create", cpu, 0L);
    }

    /** {@code major.minor.patch}. */
    static String version() {
        try {
            MethodHandle version =
                    LINKER.downcallHandle(LIBRARY.findOrThrow("dnnl_version"), FunctionDescriptor.of(JAVA_LONG));
            long struct = (long) version.invokeExact();
            return Memory.getInt(struct) + "." + Memory.getInt(struct + 4) + "." + Memory.getInt(struct + 8);
        } catch (Throwable e) {
            throw new AssertionError(e);
        }
    }

    /**
     * Calls a function that returns a status. An argument's class gives the C type: {@link Integer} {@code int} or an enum,
     * {@link Long} a pointer, {@code size_t} or {@code dnnl_dim_t}, {@link Float} {@code float}, {@link MemorySegment} a
     * pointer to that memory.
     */
    static int status(String function, Object... arguments) {
        MethodHandle handle = BY_NAME.computeIfAbsent(function, name -> hot(name,
                Arrays.stream(arguments).map(OneDnnApi::layout).toArray(MemoryLayout[]::new)));
        try {
            singleThreaded();
            return (int) handle.invokeWithArguments(arguments);
        } catch (Throwable e) {
            throw new IllegalStateException("oneDNN: " + function + " " + Arrays.toString(arguments), e);
        }
    }

    private static MemoryLayout layout(Object argument) {
        return switch (argument) {
            case Integer _ -> JAVA_INT;
            case Long _ -> JAVA_LONG;
            case Float _ -> JAVA_FLOAT;
            case MemorySegment _ -> ADDRESS;
            default -> throw new IllegalArgumentException("oneDNN: no C type for " + argument.getClass());
        };
    }

    /** As {@link #status}, but anything other than success throws. */
    static void call(String function, Object... arguments) {
        check(function, status(function, arguments));
    }

    /** Calls a function whose first parameter, left out here, is where to store a new object, and returns that object. */
    static long create(String function, Object... rest) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment result = arena.allocate(JAVA_LONG);
            call(function, prepend(result, rest));
            return result.get(JAVA_LONG, 0);
        }
    }

    static Object[] prepend(Object first, Object[] rest) {
        Object[] all = new Object[rest.length + 1];
        all[0] = first;
        System.arraycopy(rest, 0, all, 1, rest.length);
        return all;
    }

    static void check(String function, int status) {
        if (status == OUT_OF_MEMORY) {
            throw new DeviceOutOfMemoryException("cpu: oneDNN: " + function + ": out of memory");
        }
        if (status != SUCCESS) {
            throw new IllegalStateException("oneDNN: " + function + ": "
                    + (status > 0 && status < STATUS.length ? STATUS[status] : "status " + status));
        }
    }

    /** {@code dnnl_memory_desc_get_size}: 0 for the empty descriptor of an argument that is not needed. */
    static long bytes(long memoryDescriptor) {
        try {
            return (long) MD_SIZE.invokeExact(memoryDescriptor);
        } catch (Throwable e) {
            throw new AssertionError(e);
        }
    }

    /** {@code dnnl_memory_desc_equal}. */
    static boolean equal(long a, long b) {
        return status("dnnl_memory_desc_equal", a, b) != 0;
    }

    /** {@code dnnl_primitive_desc_query_md}: a memory descriptor that belongs to the primitive descriptor. */
    static long descriptorOf(long primitiveDescriptor, int query, int index) {
        try {
            return (long) QUERY_MD.invokeExact(primitiveDescriptor, query, index);
        } catch (Throwable e) {
            throw new AssertionError(e);
        }
    }

    /** The setting belongs to the calling thread, and any thread may call; making it costs less than asking for it. */
    private static void singleThreaded() throws Throwable {
        OMP_SET_NUM_THREADS.invokeExact(1);
    }

    /** {@code dnnl_sgemm}: row-major {@code C = alpha op(A) op(B) + beta C}. */
    static void sgemm(boolean ta, boolean tb, long m, long n, long k, float alpha, long a, long lda, long b, long ldb,
            float beta, long c, long ldc) {
        if (k == 0) {
            ParallelSgemm.scale(m, n, beta, c, ldc);
            return;
        }
        int status;
        try {
            singleThreaded();
            status = (int) SGEMM.invokeExact((byte) (ta ? 'T' : 'N'), (byte) (tb ? 'T' : 'N'), m, n, k, alpha, a, lda, b,
                    ldb, beta, c, ldc);
        } catch (Throwable e) {
            throw new AssertionError(e);
        }
        if (status != SUCCESS) {
            check("dnnl_sgemm m " + m + " n " + n + " k " + k + " lda " + lda + " ldb " + ldb + " ldc " + ldc, status);
        }
    }

    /** {@code dnnl_memory_set_data_handle}. */
    static void setDataHandle(long memory, long address) {
        int status;
        try {
            status = (int) SET_DATA_HANDLE.invokeExact(memory, address);
        } catch (Throwable e) {
            throw new AssertionError(e);
        }
        check("dnnl_memory_set_data_handle", status);
    }

    /** {@code dnnl_primitive_execute} with an array of {@code count} {@code dnnl_exec_arg_t} at {@code arguments}. */
    static void execute(long primitive, long stream, int count, long arguments) {
        int status;
        try {
            singleThreaded();
            status = (int) EXECUTE.invokeExact(primitive, stream, count, arguments);
        } catch (Throwable e) {
            throw new AssertionError(e);
        }
        check("dnnl_primitive_execute", status);
    }
}
