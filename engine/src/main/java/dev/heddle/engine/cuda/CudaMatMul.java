// Matrix products by cuBLASLt: the algorithm is timed once a shape and kept on disk.
package dev.heddle.engine.cuda;

import dev.heddle.engine.DType;
import dev.heddle.engine.DeviceOutOfMemoryException;
import dev.heddle.engine.Shape;
import dev.heddle.engine.op.MatMul;
import dev.heddle.engine.plan.Kernel;
import dev.heddle.engine.plan.Layout;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.ref.Cleaner;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.IntStream;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Row-major {@code C = A B} is column-major {@code C' = B' A'}, which is what the library is asked for. Operands may be
 * transposed, and may be strided batches; a batch that only A has becomes more rows. Algorithms that add with atomics are not
 * asked for, so that the same product gives the same bits.
 */
final class CudaMatMul implements Kernel {
    private static final Logger LOG = LoggerFactory.getLogger(CudaMatMul.class);
    private static final Cleaner CLEANER = Cleaner.create();
    /** Products of f32 round their operands to tf32 ({@code -Dheddle.cuda.tf32=true}): faster, 10 bits of fraction. */
    private static final boolean TF32 = Boolean.getBoolean("heddle.cuda.tf32");
    private static final long WORKSPACE = 32 << 20; // what NVIDIA recommends for Hopper
    private static final long ALIGNMENT = 64; // of values in a plan's arena
    private static final int CANDIDATES = 8;
    private static final int REPETITIONS = 5;
    private static final long WORTH_TIMING = 1 << 21; // multiplications; smaller products are bound by their launch

    private static final MemorySegment CONSTANTS = constants();

    private final CudaDevice device;
    private final long handle;
    private final Descriptors descriptors;
    private final boolean wide;
    private long algo; // address of its 64 bytes
    private long workspaceBytes;
    private final MemorySegment algoMemory = Arena.ofAuto().allocate(CublasLt.MATMUL_ALGO);

    /** One or zero as float, then as double, where the library reads its factors. */
    private static MemorySegment constants() {
        MemorySegment memory = Arena.global().allocate(32, 16);
        memory.set(ValueLayout.JAVA_FLOAT, 0, 1f);
        memory.set(ValueLayout.JAVA_DOUBLE, 16, 1d);
        return memory;
    }

    /** An operand as the library sees it: column-major, {@code rows x columns}, transposed or not. */
    private record Matrix(long rows, long columns, long leading, boolean transposed, long batchStride) {}

    private record Descriptors(long product, long a, long b, long c) implements Runnable {
        @Override
        public void run() {
            CublasLt.matmulDescDestroy(product);
            CublasLt.matrixLayoutDestroy(a);
            CublasLt.matrixLayoutDestroy(b);
            CublasLt.matrixLayoutDestroy(c);
        }
    }

    private CudaMatMul(CudaDevice device, long handle, Descriptors descriptors, boolean wide) {
        this.device = device;
        this.handle = handle;
        this.descriptors = descriptors;
        this.wide = wide;
        CLEANER.register(this, descriptors);
    }

    /** Whether operands of these layouts can be given as they are. */
    static boolean accepts(Layout x) {
        int rank = x.shape().rank();
        return type(x.dtype()) >= 0 && matrix(x, rank - 2, rank - 1, 0) != null && batch(x) != null;
    }

    /** A kernel, or null if the library has none for the operands. */
    static Kernel of(CudaDevice device, CudaMemory memory, long handle, Layout a, Layout b, Layout out) {
        int rank = out.shape().rank();
        int type = type(out.dtype());
        Shape leading = MatMul.leading(out.shape());
        Axes batch = Axes.of(leading, IntStream.range(0, rank - 2).boxed().toList(), List.of(leading(a, leading), leading(b, leading)), -1);
        if (type < 0 || batch.rank() > 1 || a.shape().dim(-1) == 0 || out.shape().elements() == 0) {
            return null;
        }
        long batches = batch.elements();
        long aBatch = batch.innermost(0);
        long bBatch = batch.innermost(1);
        Matrix first = matrix(b, b.shape().rank() - 2, b.shape().rank() - 1, bBatch); // B' (N x K), column-major
        Matrix second = matrix(a, a.shape().rank() - 2, a.shape().rank() - 1, aBatch); // A' (K x M)
        if (first == null || second == null) {
            return null;
        }
        long m = out.shape().dim(-2);
        long n = out.shape().dim(-1);
        if (batches > 1 && bBatch == 0 && !second.transposed && aBatch == m * second.leading) {
            second = new Matrix(second.rows, second.columns * batches, second.leading, false, 0);
            m *= batches;
            batches = 1;
        }
        boolean wide = out.dtype() == DType.F64;
        int compute = wide ? CublasLt.CUBLAS_COMPUTE_64F : out.dtype() == DType.F32 && TF32 ? CublasLt.CUBLAS_COMPUTE_32F_FAST_TF32
                : CublasLt.CUBLAS_COMPUTE_32F;
        long product = CublasLt.matmulDescCreate(compute, wide ? CublasLt.CUDA_R_64F : CublasLt.CUDA_R_32F);
        CublasLt.matmulDescSetInt(product, CublasLt.CUBLASLT_MATMUL_DESC_TRANSA, first.transposed ? CublasLt.CUBLAS_OP_T : CublasLt.CUBLAS_OP_N);
        CublasLt.matmulDescSetInt(product, CublasLt.CUBLASLT_MATMUL_DESC_TRANSB, second.transposed ? CublasLt.CUBLAS_OP_T : CublasLt.CUBLAS_OP_N);
        Matrix result = new Matrix(n, m, n, false, m * n);
        Descriptors descriptors = new Descriptors(product, layout(type, first, batches), layout(type, second, batches),
                layout(type, result, batches));
        CudaMatMul kernel = new CudaMatMul(device, handle, descriptors, wide);
        String key = device.device + " " + device.name + " " + CublasLt.version() + " " + type + " " + compute + " " + first + " " + second
                + " " + m + " " + n + " " + batches + " " + a.offset() % 16 + " " + b.offset() % 16;
        long alignment = Math.min(alignment(a), alignment(b));
        if (!kernel.choose(memory, key, (double) m * n * a.shape().dim(-1) * batches >= WORTH_TIMING, alignment,
                new long[] {span(first, batches), span(second, batches), batches * m * n}, out.dtype().bytes())) {
            return null;
        }
        return kernel;
    }

    private static int type(DType dtype) {
        return switch (dtype) {
            case F32 -> CublasLt.CUDA_R_32F;
            case F64 -> CublasLt.CUDA_R_64F;
            case BF16 -> CublasLt.CUDA_R_16BF;
            case F16 -> CublasLt.CUDA_R_16F;
            default -> -1;
        };
    }

    private static Axes batch(Layout x) {
        int rank = x.shape().rank() - 2;
        Layout leading = leading(x, MatMul.leading(x.shape()));
        Axes axes = Axes.of(leading.shape(), IntStream.range(0, rank).boxed().toList(), List.of(leading), -1);
        return axes.rank() <= 1 ? axes : null;
    }

    private static Layout leading(Layout x, Shape to) {
        int rank = x.shape().rank() - 2;
        return new Layout(x.dtype(), MatMul.leading(x.shape()), java.util.Arrays.copyOf(x.strides(), rank), 0).expand(to);
    }

    /**
     * The transpose of a strided matrix as a column-major one: rows that lie without gaps become columns; columns that do are
     * the transposed case. Null if neither does.
     */
    private static Matrix matrix(Layout x, int row, int column, long batchStride) {
        long rows = x.shape().dim(row);
        long columns = x.shape().dim(column);
        long rowStride = x.stride(row);
        long columnStride = x.stride(column);
        if ((columnStride == 1 || columns == 1) && (rows == 1 || rowStride >= columns)) {
            return new Matrix(columns, rows, rows == 1 ? Math.max(1, columns) : rowStride, false, batchStride);
        }
        if ((rowStride == 1 || rows == 1) && (columns == 1 || columnStride >= rows)) {
            return new Matrix(rows, columns, columns == 1 ? Math.max(1, rows) : columnStride, true, batchStride);
        }
        return null;
    }

    private static long layout(int type, Matrix x, long batches) {
        long layout = CublasLt.matrixLayoutCreate(type, x.rows, x.columns, x.leading);
        if (batches > 1) {
            CublasLt.matrixLayoutSetInt(layout, CublasLt.CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, Math.toIntExact(batches));
            CublasLt.matrixLayoutSetLong(layout, CublasLt.CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, x.batchStride);
        }
        return layout;
    }

    private static long alignment(Layout x) {
        return Long.lowestOneBit(x.byteOffset() | ALIGNMENT);
    }

    private static long span(Matrix x, long batches) {
        return x.leading * x.columns + (batches - 1) * x.batchStride;
    }

    // ---- choosing the algorithm

    private boolean choose(CudaMemory memory, String key, boolean worthTiming, long alignment, long[] elements, int elementBytes) {
        Path kept = CudaModules.folder().resolve("matmul").resolve(CudaModules.sha256(List.of(key)) + ".algo");
        if (use(read(kept))) {
            return true;
        }
        long preference = CublasLt.preferenceCreate();
        List<CublasLt.Heuristic> candidates;
        try {
            CublasLt.preferenceSetLong(preference, CublasLt.CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, WORKSPACE);
            CublasLt.preferenceSetInt(preference, CublasLt.CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
                    CublasLt.CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE | CublasLt.CUBLASLT_REDUCTION_SCHEME_OUTPUT_TYPE);
            CublasLt.preferenceSetInt(preference, CublasLt.CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, (int) alignment);
            CublasLt.preferenceSetInt(preference, CublasLt.CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, (int) alignment);
            CublasLt.preferenceSetInt(preference, CublasLt.CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, (int) ALIGNMENT);
            CublasLt.preferenceSetInt(preference, CublasLt.CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, (int) ALIGNMENT);
            candidates = CublasLt.heuristics(handle, descriptors.product, descriptors.a, descriptors.b, descriptors.c, descriptors.c,
                    preference, CANDIDATES);
        } finally {
            CublasLt.preferenceDestroy(preference);
        }
        if (candidates.isEmpty()) {
            return false;
        }
        CublasLt.Heuristic best = worthTiming && candidates.size() > 1 ? fastest(candidates, memory, elements, elementBytes)
                : candidates.getFirst();
        use(best);
        if (worthTiming) {
            try {
                CudaModules.keep(kept, best.algo());
            } catch (IOException e) {
                LOG.warn("cuda: cannot keep the choice of an algorithm in {}: {}", kept, e.toString());
            }
        }
        return true;
    }

    private CublasLt.Heuristic read(Path kept) {
        try {
            byte[] bytes = Files.isRegularFile(kept) ? Files.readAllBytes(kept) : new byte[0];
            return bytes.length != CublasLt.MATMUL_ALGO.byteSize() ? null
                    : CublasLt.check(handle, descriptors.product, descriptors.a, descriptors.b, descriptors.c, descriptors.c, bytes);
        } catch (IOException e) {
            return null;
        }
    }

    private boolean use(CublasLt.Heuristic heuristic) {
        if (heuristic == null) {
            return false;
        }
        MemorySegment.copy(MemorySegment.ofArray(heuristic.algo()), 0, algoMemory, 0, heuristic.algo().length);
        algo = algoMemory.address();
        workspaceBytes = heuristic.workspaceBytes();
        return true;
    }

    private CublasLt.Heuristic fastest(List<CublasLt.Heuristic> candidates, CudaMemory memory, long[] elements, int elementBytes) {
        long[] blocks = new long[4];
        long[] bytes = {elements[0] * elementBytes, elements[1] * elementBytes, elements[2] * elementBytes, WORKSPACE};
        long start = Driver.eventCreate(Driver.CU_EVENT_DEFAULT);
        long end = Driver.eventCreate(Driver.CU_EVENT_DEFAULT);
        int allocated = 0;
        try {
            for (; allocated < blocks.length; allocated++) {
                blocks[allocated] = memory.allocate(bytes[allocated]);
                Driver.memsetD8Async(blocks[allocated], (byte) 0x3c, bytes[allocated], device.stream); // small numbers in any dtype
            }
            CublasLt.Heuristic best = candidates.getFirst();
            float least = Float.MAX_VALUE;
            for (CublasLt.Heuristic candidate : candidates) {
                use(candidate);
                launch(blocks[1], blocks[0], blocks[2], blocks[3]);
                Driver.eventRecord(start, device.stream);
                for (int i = 0; i < REPETITIONS; i++) {
                    launch(blocks[1], blocks[0], blocks[2], blocks[3]);
                }
                Driver.eventRecord(end, device.stream);
                Driver.eventSynchronize(end);
                float time = Driver.eventElapsedTime(start, end);
                if (time < least) {
                    least = time;
                    best = candidate;
                }
            }
            return best;
        } catch (DeviceOutOfMemoryException e) {
            LOG.info("cuda: no memory to time algorithms of a product; the library's first is taken");
            return candidates.getFirst();
        } finally {
            for (int i = 0; i < allocated; i++) {
                memory.free(blocks[i], bytes[i]);
            }
            Driver.eventDestroy(start);
            Driver.eventDestroy(end);
        }
    }

    private void launch(long a, long b, long c, long workspace) {
        long one = CONSTANTS.address() + (wide ? 16 : 0);
        CublasLt.matmul(handle, descriptors.product, one, b, descriptors.a, a, descriptors.b, one + (wide ? 8 : 4), c, descriptors.c, c,
                descriptors.c, algo, workspace, workspaceBytes, device.stream);
    }

    @Override
    public long workspaceBytes() {
        return workspaceBytes;
    }

    @Override
    public void run(long[] addresses) {
        try {
            launch(addresses[0], addresses[1], addresses[2], workspaceBytes > 0 ? addresses[3] : 0);
        } catch (CudaException e) {
            throw e.in("matmul");
        }
    }
}
