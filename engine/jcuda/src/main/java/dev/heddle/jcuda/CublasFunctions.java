// JCuda has no cuBLASLt. What the engine asks of it, products of strided matrices, cuBLAS does too: here is as much of
// cuBLASLt's interface as a product needs, over JCublas2.
package dev.heddle.jcuda;

import static dev.heddle.jcuda.Handles.pointer;
import static dev.heddle.jcuda.Handles.set;
import static dev.heddle.jcuda.Handles.store;

import dev.heddle.engine.memory.Memory;
import dev.heddle.engine.memory.NativeMemory;
import jcuda.jcublas.JCublas2;
import jcuda.jcublas.cublasHandle;
import jcuda.runtime.cudaStream_t;

/**
 * Methods with the names and parameters of {@code libcublasLt}'s functions. Descriptors are blocks of host memory. Products are
 * in column order, without epilogues, and with {@code D} in the place of {@code C} where that is added; the heuristic says that
 * there is nothing for others. It proposes one algorithm, cuBLAS's own choice, so there is nothing to time.
 */
final class CublasFunctions {
    private static final int SUCCESS = 0;
    private static final int INVALID_VALUE = 7;
    private static final int NOT_SUPPORTED = 15;

    private static final int BLOCK = 64; // bytes of a descriptor

    // Of products. The attributes of epilogues are not kept: the heuristic refuses epilogues.
    private static final int COMPUTE = 0;
    private static final int SCALE = 4;
    private static final int TRANSPOSE_A = 8;
    private static final int TRANSPOSE_B = 12;
    private static final int EPILOGUE = 16;
    private static final int POINTER_MODE = 20;
    private static final int DEFAULT_EPILOGUE = 1;
    private static final int COMPUTE_64F = 70;
    private static final int R_64F = 1;

    // Of matrices.
    private static final int TYPE = 0;
    private static final int ORDER = 4;
    private static final int BATCHES = 8;
    private static final int ROWS = 16;
    private static final int COLUMNS = 24;
    private static final int LEADING = 32;
    private static final int STRIDE = 40;

    private static final int RESULT_WORKSPACE = 64; // in cublasLtMatmulHeuristicResult_t, behind the algorithm's 64 bytes
    private static final int RESULT_STATE = 72;
    private static final int RESULT_WAVES = 76;
    /** Marks the one algorithm, so that those of cuBLASLt that were kept on disk are refused, and the other way round. */
    private static final long ALGORITHM = 0x4a4375626c617332L;
    private static final long WORKSPACE = 32 << 20; // what NVIDIA recommends for Hopper
    private static final long ALIGNMENT = 256; // of the workspace

    private CublasFunctions() {
    }

    static int cublasLtCreate(long result) {
        cublasHandle handle = new cublasHandle();
        return store(result, handle, JCublas2.cublasCreate(handle));
    }

    static int cublasLtDestroy(long handle) {
        return JCublas2.cublasDestroy(set(new cublasHandle(), handle));
    }

    private static long block() {
        long block = NativeMemory.allocate(BLOCK);
        Memory.fill(block, BLOCK, (byte) 0);
        return block;
    }

    private static int free(long block) {
        NativeMemory.free(block, BLOCK);
        return SUCCESS;
    }

    static int cublasLtMatmulDescCreate(long result, int compute, int scale) {
        long product = block();
        Memory.putInt(product + COMPUTE, compute);
        Memory.putInt(product + SCALE, scale);
        Memory.putInt(product + EPILOGUE, DEFAULT_EPILOGUE);
        Memory.putLong(result, product);
        return SUCCESS;
    }

    static int cublasLtMatmulDescDestroy(long product) {
        return free(product);
    }

    static int cublasLtMatmulDescSetAttribute(long product, int attribute, long value, long bytes) {
        return switch (attribute) {
            case 2 -> copyInt(value, bytes, product + POINTER_MODE);
            case 3 -> copyInt(value, bytes, product + TRANSPOSE_A);
            case 4 -> copyInt(value, bytes, product + TRANSPOSE_B);
            case 7 -> copyInt(value, bytes, product + EPILOGUE);
            default -> SUCCESS;
        };
    }

    private static int copyInt(long from, long bytes, long to) {
        Memory.putInt(to, Memory.getInt(from));
        return bytes == Integer.BYTES ? SUCCESS : INVALID_VALUE;
    }

    static int cublasLtMatrixLayoutCreate(long result, int type, long rows, long columns, long leading) {
        long matrix = block();
        Memory.putInt(matrix + TYPE, type);
        Memory.putInt(matrix + BATCHES, 1);
        Memory.putLong(matrix + ROWS, rows);
        Memory.putLong(matrix + COLUMNS, columns);
        Memory.putLong(matrix + LEADING, leading);
        Memory.putLong(result, matrix);
        return SUCCESS;
    }

    static int cublasLtMatrixLayoutDestroy(long matrix) {
        return free(matrix);
    }

    static int cublasLtMatrixLayoutSetAttribute(long matrix, int attribute, long value, long bytes) {
        return switch (attribute) {
            case 1 -> copyInt(value, bytes, matrix + ORDER);
            case 5 -> copyInt(value, bytes, matrix + BATCHES);
            case 6 -> {
                Memory.putLong(matrix + STRIDE, Memory.getLong(value));
                yield bytes == Long.BYTES ? SUCCESS : INVALID_VALUE;
            }
            default -> NOT_SUPPORTED;
        };
    }

    static int cublasLtMatmulPreferenceCreate(long result) {
        Memory.putLong(result, block());
        return SUCCESS;
    }

    static int cublasLtMatmulPreferenceDestroy(long preference) {
        return free(preference);
    }

    /** Of preferences only the size of the workspace, attribute 1, matters: cuBLAS finds the others out, or has no such choice. */
    static int cublasLtMatmulPreferenceSetAttribute(long preference, int attribute, long value, long bytes) {
        if (attribute == 1) {
            Memory.putLong(preference, Memory.getLong(value));
        }
        return SUCCESS;
    }

    static int cublasLtMatmulAlgoGetHeuristic(long handle, long product, long a, long b, long c, long d, long preference, int count,
            long results, long returned) {
        if (!supported(product, a, b, c, d)) {
            return NOT_SUPPORTED;
        }
        for (int i = 0; i < 8; i++) {
            Memory.putLong(results + 8L * i, i == 0 ? ALGORITHM : 0);
        }
        describe(results, Math.min(WORKSPACE, Memory.getLong(preference)));
        Memory.putInt(returned, 1);
        return SUCCESS;
    }

    private static void describe(long result, long workspaceBytes) {
        Memory.putLong(result + RESULT_WORKSPACE, workspaceBytes);
        Memory.putInt(result + RESULT_STATE, SUCCESS);
        Memory.putInt(result + RESULT_WAVES, Float.floatToRawIntBits(1f));
    }

    static int cublasLtMatmulAlgoCheck(long handle, long product, long a, long b, long c, long d, long algorithm, long result) {
        if (Memory.getLong(algorithm) != ALGORITHM || !supported(product, a, b, c, d)) {
            return NOT_SUPPORTED;
        }
        describe(result, WORKSPACE);
        return SUCCESS;
    }

    private static boolean supported(long product, long a, long b, long c, long d) {
        boolean columns = Memory.getInt(a + ORDER) + Memory.getInt(b + ORDER) + Memory.getInt(c + ORDER) + Memory.getInt(d + ORDER) == 0;
        boolean scale = (Memory.getInt(product + COMPUTE) == COMPUTE_64F) == (Memory.getInt(product + SCALE) == R_64F);
        return columns && scale && Memory.getInt(product + EPILOGUE) == DEFAULT_EPILOGUE && Memory.getInt(product + POINTER_MODE) == 0;
    }

    static int cublasLtMatmul(long handle, long product, long alpha, long a, long aMatrix, long b, long bMatrix, long beta, long c,
            long cMatrix, long d, long dMatrix, long algorithm, long workspace, long workspaceBytes, long stream) {
        int scale = Memory.getInt(product + SCALE);
        boolean adds = scale == R_64F ? Memory.getDouble(beta) != 0 : Memory.getFloat(beta) != 0;
        if (!supported(product, aMatrix, bMatrix, cMatrix, dMatrix) || adds && c != d) {
            return NOT_SUPPORTED;
        }
        cublasHandle cublas = set(new cublasHandle(), handle);
        int status = JCublas2.cublasSetStream(cublas, set(new cudaStream_t(), stream)); // and forgets the workspace
        long aligned = (workspace + ALIGNMENT - 1) & -ALIGNMENT;
        long usable = workspaceBytes - (aligned - workspace);
        if (status == SUCCESS && usable > 0) {
            status = JCublas2.cublasSetWorkspace(cublas, pointer(aligned), usable);
        }
        if (status != SUCCESS) {
            return status;
        }
        boolean transposed = Memory.getInt(product + TRANSPOSE_A) != 0;
        long k = Memory.getLong(aMatrix + (transposed ? ROWS : COLUMNS));
        return JCublas2.cublasGemmStridedBatchedEx_64_new(cublas, Memory.getInt(product + TRANSPOSE_A),
                Memory.getInt(product + TRANSPOSE_B), Memory.getLong(dMatrix + ROWS), Memory.getLong(dMatrix + COLUMNS), k,
                pointer(alpha), pointer(a), Memory.getInt(aMatrix + TYPE), Memory.getLong(aMatrix + LEADING),
                Memory.getLong(aMatrix + STRIDE), pointer(b), Memory.getInt(bMatrix + TYPE), Memory.getLong(bMatrix + LEADING),
                Memory.getLong(bMatrix + STRIDE), pointer(beta), pointer(d), Memory.getInt(dMatrix + TYPE),
                Memory.getLong(dMatrix + LEADING), Memory.getLong(dMatrix + STRIDE), Memory.getInt(dMatrix + BATCHES),
                Memory.getInt(product + COMPUTE), -1); // CUBLAS_GEMM_DEFAULT
    }
}
