// NVIDIA's runtime compiler: CUDA C++ text to machine code, in the process and without a GPU.
package dev.heddle.engine.cuda;

import static dev.heddle.engine.cuda.NativeLibrary.POINTER;
import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.MemorySegment;
import java.util.List;

/** {@code libnvrtc}. A compilation uses one thread of the calling process; several may run at the same time. */
final class Nvrtc {
    static final int NVRTC_SUCCESS = 0;
    static final int NVRTC_ERROR_COMPILATION = 6;

    private static final NativeLibrary LIBRARY = CudaLibraries.NVRTC;

    private static final NativeFunction GET_ERROR_STRING =
            LIBRARY.function("nvrtcGetErrorString", FunctionDescriptor.of(POINTER, JAVA_INT));
    private static final NativeFunction VERSION = LIBRARY.function("nvrtcVersion", POINTER, POINTER);
    private static final NativeFunction CREATE_PROGRAM =
            LIBRARY.function("nvrtcCreateProgram", POINTER, POINTER, POINTER, JAVA_INT, POINTER, POINTER);
    private static final NativeFunction DESTROY_PROGRAM = LIBRARY.function("nvrtcDestroyProgram", POINTER);
    private static final NativeFunction COMPILE_PROGRAM =
            LIBRARY.function("nvrtcCompileProgram", POINTER, JAVA_INT, POINTER);
    private static final NativeFunction GET_CUBIN_SIZE = LIBRARY.function("nvrtcGetCUBINSize", POINTER, POINTER);
    private static final NativeFunction GET_CUBIN = LIBRARY.function("nvrtcGetCUBIN", POINTER, POINTER);
    private static final NativeFunction GET_LOG_SIZE = LIBRARY.function("nvrtcGetProgramLogSize", POINTER, POINTER);
    private static final NativeFunction GET_LOG = LIBRARY.function("nvrtcGetProgramLog", POINTER, POINTER);

    private Nvrtc() {
    }

    /** Whether the library could be loaded. */
    static boolean available() {
        return LIBRARY.load();
    }

    /** {@code major.minor}. */
    static String version() {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment minor = arena.allocate(JAVA_INT);
            MemorySegment major = VERSION.get(arena, JAVA_INT, minor.address());
            return major.get(JAVA_INT, 0) + "." + minor.get(JAVA_INT, 0);
        }
    }

    /**
     * Compiles to a cubin, the machine code of one architecture.
     *
     * @param source the text of the program
     * @param name what messages call it
     * @param options as on the command line; one must be {@code --gpu-architecture=sm_NN}, since a virtual architecture
     *     ({@code compute_NN}) gives no cubin
     * @throws CudaException with the compiler's messages if the source does not compile, or if the library is not there
     */
    static byte[] compile(String source, String name, List<String> options) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment program = CREATE_PROGRAM.get(arena, JAVA_LONG, arena.allocateFrom(source).address(),
                    arena.allocateFrom(name).address(), 0, 0L, 0L);
            try {
                return compile(arena, program.get(JAVA_LONG, 0), name, options);
            } finally {
                DESTROY_PROGRAM.call(program.address());
            }
        }
    }

    private static byte[] compile(Arena arena, long program, String name, List<String> options) {
        MemorySegment arguments = arena.allocate(ADDRESS, options.size());
        for (int i = 0; i < options.size(); i++) {
            arguments.setAtIndex(ADDRESS, i, arena.allocateFrom(options.get(i)));
        }
        int status = COMPILE_PROGRAM.status(program, options.size(), arguments.address());
        if (status != NVRTC_SUCCESS) {
            String log = new String(read(arena, GET_LOG_SIZE, GET_LOG, program)).replace("\0", "").strip();
            throw new CudaException("nvrtcCompileProgram", status, text(status),
                    "options " + options + (log.isEmpty() ? "" : "\n" + log), -1).in(name);
        }
        byte[] cubin = read(arena, GET_CUBIN_SIZE, GET_CUBIN, program);
        if (cubin.length == 0) {
            throw new CudaException("options " + options + " give no cubin: --gpu-architecture must be sm_NN").in(name);
        }
        return cubin;
    }

    private static byte[] read(Arena arena, NativeFunction getSize, NativeFunction get, long program) {
        MemorySegment bytes = arena.allocate(getSize.getLastLong(program));
        get.call(program, bytes.address());
        return bytes.toArray(JAVA_BYTE);
    }

    static CudaException failure(String call, int status) {
        return new CudaException(call, status, text(status), "", -1);
    }

    private static String text(int status) {
        return GET_ERROR_STRING.getText(status);
    }
}
