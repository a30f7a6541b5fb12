// cuBLASLt, function by function: matrix products with a choice of algorithm, workspace and epilogue.
package dev.heddle.engine.cuda;

import static dev.heddle.engine.cuda.NativeLibrary.POINTER;
import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemoryLayout.PathElement;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.util.ArrayList;
import java.util.List;

/**
 * {@code libcublasLt}. Matrices are column-major unless their layout says otherwise; leading dimensions and strides count
 * elements. Handles, descriptors, addresses and device pointers are {@code long}s. Every method throws {@link CudaException}
 * if the call fails.
 */
final class CublasLt {
    static final int CUBLAS_STATUS_SUCCESS = 0;
    static final int CUBLAS_STATUS_NOT_SUPPORTED = 15;

    static final int CUDA_R_32F = 0;
    static final int CUDA_R_64F = 1;
    static final int CUDA_R_16F = 2;
    static final int CUDA_R_16BF = 14;

    static final int CUBLAS_COMPUTE_32F = 68;
    static final int CUBLAS_COMPUTE_32F_PEDANTIC = 69;
    static final int CUBLAS_COMPUTE_32F_FAST_TF32 = 77;
    static final int CUBLAS_COMPUTE_64F = 70;

    static final int CUBLAS_OP_N = 0;
    static final int CUBLAS_OP_T = 1;

    /** int. Where alpha and beta are. */
    static final int CUBLASLT_MATMUL_DESC_POINTER_MODE = 2;
    /** int, a {@code CUBLAS_OP}. */
    static final int CUBLASLT_MATMUL_DESC_TRANSA = 3;
    /** int, a {@code CUBLAS_OP}. */
    static final int CUBLASLT_MATMUL_DESC_TRANSB = 4;
    /** int, a {@code CUBLASLT_EPILOGUE}. */
    static final int CUBLASLT_MATMUL_DESC_EPILOGUE = 7;
    /** long, a device pointer to as many elements as D has rows; an output of the BGRAD epilogues. */
    static final int CUBLASLT_MATMUL_DESC_BIAS_POINTER = 8;
    /** long, elements. */
    static final int CUBLASLT_MATMUL_DESC_BIAS_BATCH_STRIDE = 10;
    /** long, a device pointer, 16-byte aligned: what the AUX epilogues write and DGELU and DRELU read. */
    static final int CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER = 11;
    /** long, elements, a multiple of 8. */
    static final int CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD = 12;
    /** long, elements. */
    static final int CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_BATCH_STRIDE = 13;
    /** int, a {@code CUDA_R}; by default the type of D. */
    static final int CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_DATA_TYPE = 22;
    /** int, a {@code CUDA_R}; by default the type of D. */
    static final int CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE = 26;

    static final int CUBLASLT_POINTER_MODE_HOST = 0;
    static final int CUBLASLT_POINTER_MODE_DEVICE = 1;

    static final int CUBLASLT_EPILOGUE_DEFAULT = 1;
    static final int CUBLASLT_EPILOGUE_RELU = 2;
    static final int CUBLASLT_EPILOGUE_BIAS = 4;
    static final int CUBLASLT_EPILOGUE_RELU_BIAS = 6;
    static final int CUBLASLT_EPILOGUE_GELU = 32;
    static final int CUBLASLT_EPILOGUE_GELU_BIAS = 36;
    static final int CUBLASLT_EPILOGUE_GELU_AUX = 160;
    static final int CUBLASLT_EPILOGUE_GELU_AUX_BIAS = 164;
    static final int CUBLASLT_EPILOGUE_DGELU = 192;
    static final int CUBLASLT_EPILOGUE_DGELU_BGRAD = 208;
    static final int CUBLASLT_EPILOGUE_BGRADA = 256;
    static final int CUBLASLT_EPILOGUE_BGRADB = 512;

    /** int, a {@code CUBLASLT_ORDER}. */
    static final int CUBLASLT_MATRIX_LAYOUT_ORDER = 1;
    /** int. */
    static final int CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT = 5;
    /** long, elements. */
    static final int CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET = 6;

    static final int CUBLASLT_ORDER_COL = 0;
    static final int CUBLASLT_ORDER_ROW = 1;

    /** long. */
    static final int CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES = 1;
    /** int, a mask of {@code CUBLASLT_REDUCTION_SCHEME}s for split-k. */
    static final int CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK = 3;
    /** int, bytes; 256 unless set. */
    static final int CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES = 5;
    /** int, bytes. */
    static final int CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES = 6;
    /** int, bytes. */
    static final int CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES = 7;
    /** int, bytes. */
    static final int CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES = 8;

    static final int CUBLASLT_REDUCTION_SCHEME_NONE = 0;
    /** Adds with atomics, in any order: not deterministic. */
    static final int CUBLASLT_REDUCTION_SCHEME_INPLACE = 1;
    static final int CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE = 2;
    static final int CUBLASLT_REDUCTION_SCHEME_OUTPUT_TYPE = 4;

    /** {@code cublasLtMatmulAlgo_t}, 64 bytes, which one version of the library may write to a file and read back. */
    static final MemoryLayout MATMUL_ALGO = MemoryLayout.sequenceLayout(8, JAVA_LONG);
    /** {@code cublasLtMatmulHeuristicResult_t}, 96 bytes. */
    static final MemoryLayout MATMUL_HEURISTIC_RESULT = MemoryLayout.structLayout(MATMUL_ALGO.withName("algo"),
            JAVA_LONG.withName("workspaceSize"), JAVA_INT.withName("state"), JAVA_FLOAT.withName("wavesCount"),
            MemoryLayout.sequenceLayout(4, JAVA_INT));
    private static final long WORKSPACE_SIZE = MATMUL_HEURISTIC_RESULT.byteOffset(PathElement.groupElement("workspaceSize"));
    private static final long STATE = MATMUL_HEURISTIC_RESULT.byteOffset(PathElement.groupElement("state"));
    private static final long WAVES_COUNT = MATMUL_HEURISTIC_RESULT.byteOffset(PathElement.groupElement("wavesCount"));

    private static final NativeLibrary LIBRARY = CudaLibraries.CUBLAS_LT;

    private static final NativeFunction GET_STATUS_NAME =
            LIBRARY.function("cublasLtGetStatusName", FunctionDescriptor.of(POINTER, JAVA_INT));
    private static final NativeFunction GET_STATUS_STRING =
            LIBRARY.function("cublasLtGetStatusString", FunctionDescriptor.of(POINTER, JAVA_INT));
    private static final NativeFunction GET_VERSION =
            LIBRARY.function("cublasLtGetVersion", FunctionDescriptor.of(JAVA_LONG));
    private static final NativeFunction CREATE = LIBRARY.function("cublasLtCreate", POINTER);
    private static final NativeFunction DESTROY = LIBRARY.function("cublasLtDestroy", POINTER);
    private static final NativeFunction DESC_CREATE =
            LIBRARY.function("cublasLtMatmulDescCreate", POINTER, JAVA_INT, JAVA_INT);
    private static final NativeFunction DESC_DESTROY = LIBRARY.function("cublasLtMatmulDescDestroy", POINTER);
    private static final NativeFunction DESC_SET =
            LIBRARY.function("cublasLtMatmulDescSetAttribute", POINTER, JAVA_INT, POINTER, JAVA_LONG);
    private static final NativeFunction LAYOUT_CREATE =
            LIBRARY.function("cublasLtMatrixLayoutCreate", POINTER, JAVA_INT, JAVA_LONG, JAVA_LONG, JAVA_LONG);
    private static final NativeFunction LAYOUT_DESTROY = LIBRARY.function("cublasLtMatrixLayoutDestroy", POINTER);
    private static final NativeFunction LAYOUT_SET =
            LIBRARY.function("cublasLtMatrixLayoutSetAttribute", POINTER, JAVA_INT, POINTER, JAVA_LONG);
    private static final NativeFunction PREFERENCE_CREATE = LIBRARY.function("cublasLtMatmulPreferenceCreate", POINTER);
    private static final NativeFunction PREFERENCE_DESTROY = LIBRARY.function("cublasLtMatmulPreferenceDestroy", POINTER);
    private static final NativeFunction PREFERENCE_SET =
            LIBRARY.function("cublasLtMatmulPreferenceSetAttribute", POINTER, JAVA_INT, POINTER, JAVA_LONG);
    private static final NativeFunction GET_HEURISTIC = LIBRARY.function("cublasLtMatmulAlgoGetHeuristic", POINTER, POINTER,
            POINTER, POINTER, POINTER, POINTER, POINTER, JAVA_INT, POINTER, POINTER);
    private static final NativeFunction ALGO_CHECK = LIBRARY.function("cublasLtMatmulAlgoCheck", POINTER, POINTER, POINTER,
            POINTER, POINTER, POINTER, POINTER, POINTER);
    private static final NativeFunction MATMUL = LIBRARY.function("cublasLtMatmul", POINTER, POINTER, POINTER, POINTER,
            POINTER, POINTER, POINTER, POINTER, POINTER, POINTER, POINTER, POINTER, POINTER, POINTER, JAVA_LONG, POINTER);
    private static final MethodHandle DESC_SET_HANDLE = DESC_SET.dynamicInvoker();
    private static final MethodHandle MATMUL_HANDLE = MATMUL.dynamicInvoker();

    /**
     * An algorithm for one product.
     *
     * @param algo the bytes of a {@code cublasLtMatmulAlgo_t}
     * @param workspaceBytes the workspace it needs
     * @param waves how often the product fills the GPU; a fraction close below a whole number uses it best
     */
    record Heuristic(byte[] algo, long workspaceBytes, float waves) {
    }

    private CublasLt() {
    }

    /** The version as a number, 130101 for 13.1.1, which an algorithm kept on disk depends on. */
    static long version() {
        return GET_VERSION.getValue();
    }

    /** {@code major.minor.patch}. */
    static String versionText() {
        long version = version();
        return version / 10000 + "." + version / 100 % 100 + "." + version % 100;
    }

    /** A handle, which belongs to the current context. */
    static long create() {
        return CREATE.getLong();
    }

    /** Destroys a handle. */
    static void destroy(long handle) {
        DESTROY.call(handle);
    }

    /** A descriptor of products that compute in a {@code CUBLAS_COMPUTE}, with alpha and beta of a {@code CUDA_R}. */
    static long matmulDescCreate(int computeType, int scaleType) {
        return DESC_CREATE.getLong(computeType, scaleType);
    }

    /** Destroys a descriptor of products. */
    static void matmulDescDestroy(long desc) {
        DESC_DESTROY.call(desc);
    }

    /** Sets an attribute of 4 bytes, a {@code CUBLASLT_MATMUL_DESC}. */
    static void matmulDescSetInt(long desc, int attribute, int value) {
        setInt(DESC_SET, desc, attribute, value);
    }

    /** Sets an attribute to the bytes at an address; allocates nothing. */
    static void matmulDescSet(long desc, int attribute, long address, long bytes) {
        try {
            DESC_SET.check((int) DESC_SET_HANDLE.invokeExact(desc, attribute, address, bytes));
        } catch (Throwable e) {
            throw NativeFunction.unchecked(e);
        }
    }

    /** Sets an attribute of 8 bytes, a {@code CUBLASLT_MATMUL_DESC}. */
    static void matmulDescSetLong(long desc, int attribute, long value) {
        setLong(DESC_SET, desc, attribute, value);
    }

    /** A column-major matrix of a {@code CUDA_R}. */
    static long matrixLayoutCreate(int type, long rows, long columns, long leadingDimension) {
        return LAYOUT_CREATE.getLong(type, rows, columns, leadingDimension);
    }

    /** Destroys a layout. */
    static void matrixLayoutDestroy(long layout) {
        LAYOUT_DESTROY.call(layout);
    }

    /** Sets an attribute of 4 bytes, a {@code CUBLASLT_MATRIX_LAYOUT}. */
    static void matrixLayoutSetInt(long layout, int attribute, int value) {
        setInt(LAYOUT_SET, layout, attribute, value);
    }

    /** Sets an attribute of 8 bytes, a {@code CUBLASLT_MATRIX_LAYOUT}. */
    static void matrixLayoutSetLong(long layout, int attribute, long value) {
        setLong(LAYOUT_SET, layout, attribute, value);
    }

    /** What algorithms may be proposed; nothing that needs a workspace unless that is set. */
    static long preferenceCreate() {
        return PREFERENCE_CREATE.getLong();
    }

    /** Destroys a preference. */
    static void preferenceDestroy(long preference) {
        PREFERENCE_DESTROY.call(preference);
    }

    /** Sets an attribute of 4 bytes, a {@code CUBLASLT_MATMUL_PREF}. */
    static void preferenceSetInt(long preference, int attribute, int value) {
        setInt(PREFERENCE_SET, preference, attribute, value);
    }

    /** Sets an attribute of 8 bytes, a {@code CUBLASLT_MATMUL_PREF}. */
    static void preferenceSetLong(long preference, int attribute, long value) {
        setLong(PREFERENCE_SET, preference, attribute, value);
    }

    /** At most {@code count} algorithms, the most promising first; none if the library does not support the product. */
    static List<Heuristic> heuristics(long handle, long desc, long a, long b, long c, long d, long preference, int count) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment results = arena.allocate(MATMUL_HEURISTIC_RESULT, count);
            MemorySegment returned = arena.allocate(JAVA_INT);
            int status = GET_HEURISTIC.status(handle, desc, a, b, c, d, preference, count, results.address(),
                    returned.address());
            if (status == CUBLAS_STATUS_NOT_SUPPORTED) {
                return List.of();
            }
            GET_HEURISTIC.check(status);
            List<Heuristic> found = new ArrayList<>();
            for (int i = 0; i < returned.get(JAVA_INT, 0); i++) {
                MemorySegment result = results.asSlice(i * MATMUL_HEURISTIC_RESULT.byteSize(), MATMUL_HEURISTIC_RESULT);
                if (result.get(JAVA_INT, STATE) == CUBLAS_STATUS_SUCCESS) {
                    found.add(heuristic(result));
                }
            }
            return found;
        }
    }

    /** Whether an algorithm that was kept can still do a product: what it needs now, or null if it cannot. */
    static Heuristic check(long handle, long desc, long a, long b, long c, long d, byte[] algo) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment kept = arena.allocate(MATMUL_ALGO);
            kept.copyFrom(MemorySegment.ofArray(algo));
            MemorySegment result = arena.allocate(MATMUL_HEURISTIC_RESULT);
            int status = ALGO_CHECK.status(handle, desc, a, b, c, d, kept.address(), result.address());
            return status == CUBLAS_STATUS_SUCCESS
                    ? new Heuristic(algo, result.get(JAVA_LONG, WORKSPACE_SIZE), result.get(JAVA_FLOAT, WAVES_COUNT)) : null;
        }
    }

    private static Heuristic heuristic(MemorySegment result) {
        return new Heuristic(result.asSlice(0, MATMUL_ALGO).toArray(JAVA_BYTE), result.get(JAVA_LONG, WORKSPACE_SIZE),
                result.get(JAVA_FLOAT, WAVES_COUNT));
    }

    /**
     * {@code D = epilogue(alpha op(A) op(B) + beta C)}.
     *
     * @param alpha the address of the factor, in host or device memory as the pointer mode says; so is {@code beta}
     * @param algo the address of a {@code cublasLtMatmulAlgo_t}, or 0 to let the library choose
     */
    static void matmul(long handle, long desc, long alpha, long a, long aLayout, long b, long bLayout, long beta, long c,
            long cLayout, long d, long dLayout, long algo, long workspace, long workspaceBytes, long stream) {
        try {
            MATMUL.check((int) MATMUL_HANDLE.invokeExact(handle, desc, alpha, a, aLayout, b, bLayout, beta, c, cLayout, d,
                    dLayout, algo, workspace, workspaceBytes, stream));
        } catch (Throwable e) {
            throw NativeFunction.unchecked(e);
        }
    }

    private static void setInt(NativeFunction set, long object, int attribute, int value) {
        try (Arena arena = Arena.ofConfined()) {
            set.call(object, attribute, arena.allocateFrom(JAVA_INT, value).address(), JAVA_INT.byteSize());
        }
    }

    private static void setLong(NativeFunction set, long object, int attribute, long value) {
        try (Arena arena = Arena.ofConfined()) {
            set.call(object, attribute, arena.allocateFrom(JAVA_LONG, value).address(), JAVA_LONG.byteSize());
        }
    }

    static CudaException failure(String call, int status) {
        return new CudaException(call, status, GET_STATUS_NAME.getText(status), GET_STATUS_STRING.getText(status),
                Driver.currentDevice());
    }
}
