// Matrix products by cuBLASLt: the algorithm is timed once a shape and kept on disk.
package dev.heddle.engine.cuda;

import dev.heddle.engine.DType;
import dev.heddle.engine.DeviceOutOfMemoryException;
import dev.heddle.engine.Shape;
import dev.heddle.engine.memory.Float16;
import dev.heddle.engine.op.MatMul;
import dev.heddle.engine.plan.Kernel;
import dev.heddle.engine.plan.Layout;
import dev.heddle.engine.plan.Step;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.ref.Cleaner;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Row-major {@code C = A B} is column-major {@code C' = B' A'}, which is what the library is asked for. Operands may be
 * transposed, and may be strided batches; a batch that only A has becomes more rows. Algorithms that add with atomics are not
 * asked for, so that the same product gives the same bits.
 *
 * <p>A bias along the columns of C is one along the rows of C', where the library's epilogue adds it, 16-byte aligned and in the
 * dtype of C. What its relu makes of a NaN it does not say ({@code max(x, 0)}, and CUDA's maxima prefer numbers); here a NaN
 * stays one. So an algorithm with relu is run once on NaN, and taken only if NaN comes out.
 */
final class CudaMatMul implements Kernel {
    private static final Logger LOG = LoggerFactory.getLogger(CudaMatMul.class);
    private static final Cleaner CLEANER = Cleaner.create();
    /** Products of f32 round their operands to tf32 ({@code -Dheddle.cuda.tf32=true}): faster, 10 bits of fraction. */
    private static final boolean TF32 = Boolean.getBoolean("heddle.cuda.tf32");
    private static final long WORKSPACE = 32 << 20; // what NVIDIA recommends for Hopper
    private static final long ALIGNMENT = 64; // of values in a plan's arena
    private static final long BIAS_ALIGNMENT = 16;
    private static final int CANDIDATES = 8;
    private static final int REPETITIONS = 5;
    private static final long WORTH_TIMING = 1 << 21; // multiplications; smaller products are bound by their launch

    private static final MemorySegment CONSTANTS = constants();

    private final CudaDevice device;
    private final long handle;
    private final Descriptors descriptors;
    private final DType dtype;
    private final int epilogue;
    private final int out; // its place among the operands
    private final MemorySegment bias = Arena.ofAuto().allocate(ValueLayout.JAVA_LONG); // its address, as the library reads it
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

    private CudaMatMul(CudaDevice device, long handle, Descriptors descriptors, DType dtype, int epilogue) {
        this.device = device;
        this.handle = handle;
        this.descriptors = descriptors;
        this.dtype = dtype;
        this.epilogue = epilogue;
        out = hasBias() ? 3 : 2;
        CLEANER.register(this, descriptors);
    }

    private boolean hasBias() {
        return (epilogue & CublasLt.CUBLASLT_EPILOGUE_BIAS) != 0;
    }

    private boolean hasRelu() {
        return (epilogue & CublasLt.CUBLASLT_EPILOGUE_RELU) != 0;
    }

    /** Whether operands of these layouts can be given as they are. */
    static boolean accepts(Layout x) {
        int rank = x.shape().rank();
        return type(x.dtype()) >= 0 && matrix(x, rank - 2, rank - 1, 0) != null && batch(x) != null;
    }

    /** Whether products of a dtype can have an epilogue; which are taken is found out when the kernel is made. */
    static boolean folds(DType dtype) {
        return type(dtype) >= 0 && dtype != DType.F64;
    }

    private static int epilogue(Step.Epilogue epilogue) {
        return epilogue.bias() && epilogue.relu() ? CublasLt.CUBLASLT_EPILOGUE_RELU_BIAS
                : epilogue.bias() ? CublasLt.CUBLASLT_EPILOGUE_BIAS
                : epilogue.relu() ? CublasLt.CUBLASLT_EPILOGUE_RELU : CublasLt.CUBLASLT_EPILOGUE_DEFAULT;
    }

    /**
     * A kernel, or null if the library has none for the operands.
     *
     * @param in A and B, and the bias if the epilogue has one
     */
    static Kernel of(CudaDevice device, CudaMemory memory, long handle, List<Layout> in, Step.Epilogue fused, Layout out) {
        Layout a = in.get(0);
        Layout b = in.get(1);
        int epilogue = epilogue(fused);
        if (fused.bias() && in.get(2).byteOffset() % BIAS_ALIGNMENT != 0 || fused != Step.Epilogue.NONE && !folds(out.dtype())) {
            return null;
        }
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
        CudaMatMul kernel = new CudaMatMul(device, handle, descriptors, out.dtype(), epilogue);
        if (epilogue != CublasLt.CUBLASLT_EPILOGUE_DEFAULT) {
            CublasLt.matmulDescSetInt(product, CublasLt.CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue);
        }
        if (kernel.hasBias()) {
            kernel.setBias(ALIGNMENT); // no address yet; the heuristic wants to see that there will be an aligned one
        }
        String key = device.device + " " + device.name + " " + CublasLt.version() + " " + type + " " + compute + " " + first + " " + second
                + " " + m + " " + n + " " + batches + " " + a.offset() % 16 + " " + b.offset() % 16
                + (epilogue == CublasLt.CUBLASLT_EPILOGUE_DEFAULT ? "" : " epilogue " + epilogue);
        long alignment = Math.min(alignment(a), alignment(b));
        if (!kernel.choose(memory, key, (double) m * n * a.shape().dim(-1) * batches >= WORTH_TIMING, alignment,
                new long[] {span(second, batches), span(first, batches), batches * m * n, kernel.hasBias() ? n : 0})) {
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

    private boolean choose(CudaMemory memory, String key, boolean worthTiming, long alignment, long[] elements) {
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
        CublasLt.Heuristic best = worthTiming && candidates.size() > 1 || hasRelu() ? best(candidates, worthTiming, memory, elements)
                : candidates.getFirst();
        if (!use(best)) {
            return false;
        }
        if (worthTiming || hasRelu()) {
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

    /** The fastest algorithm, or the first if that is not worth the time; with relu, of those that keep NaN, null if none does. */
    private CublasLt.Heuristic best(List<CublasLt.Heuristic> candidates, boolean time, CudaMemory memory, long[] elements) {
        long[] blocks = new long[elements.length + 1]; // a, b, c, bias, workspace
        long[] bytes = new long[blocks.length];
        Arrays.setAll(bytes, i -> i < elements.length ? elements[i] * dtype.bytes() : WORKSPACE);
        int allocated = 0;
        try {
            for (; allocated < blocks.length; allocated++) {
                blocks[allocated] = memory.allocate(bytes[allocated]);
            }
            if (hasBias()) {
                setBias(blocks[3]);
            }
            CublasLt.Heuristic best = null;
            float least = Float.MAX_VALUE;
            for (CublasLt.Heuristic candidate : candidates) {
                use(candidate);
                if (hasRelu() && !keepsNaN(memory, blocks, bytes)) {
                    continue;
                }
                float milliseconds = time ? milliseconds(blocks, bytes) : 0;
                if (milliseconds < least) {
                    least = milliseconds;
                    best = candidate;
                }
                if (!time) {
                    break;
                }
            }
            return best;
        } catch (DeviceOutOfMemoryException e) {
            LOG.info("cuda: no memory to try algorithms of a product{}", hasRelu() ? "; its relu is another kernel" : "; the library's first is taken");
            return hasRelu() ? null : candidates.getFirst();
        } finally {
            for (int i = 0; i < allocated; i++) {
                memory.free(blocks[i], bytes[i]);
            }
        }
    }

    private void fill(long[] blocks, long[] bytes, int operands, int value) {
        for (int i = 0; i < operands; i++) {
            if (bytes[i] > 0) {
                Driver.memsetD8Async(blocks[i], (byte) value, bytes[i], device.stream);
            }
        }
    }

    private float milliseconds(long[] blocks, long[] bytes) {
        fill(blocks, bytes, blocks.length - 1, 0x3c); // small numbers in any dtype
        long start = Driver.eventCreate(Driver.CU_EVENT_DEFAULT);
        long end = Driver.eventCreate(Driver.CU_EVENT_DEFAULT);
        try {
            launch(blocks[0], blocks[1], blocks[2], blocks[4]);
            Driver.eventRecord(start, device.stream);
            for (int i = 0; i < REPETITIONS; i++) {
                launch(blocks[0], blocks[1], blocks[2], blocks[4]);
            }
            Driver.eventRecord(end, device.stream);
            Driver.eventSynchronize(end);
            return Driver.eventElapsedTime(start, end);
        } finally {
            Driver.eventDestroy(start);
            Driver.eventDestroy(end);
        }
    }

    /** Whether the product of NaN is NaN: looks at the first element and the last. */
    private boolean keepsNaN(CudaMemory memory, long[] blocks, long[] bytes) {
        fill(blocks, bytes, blocks.length - 1, 0x3c);
        fill(blocks, bytes, 2, 0xff); // NaN in any dtype
        launch(blocks[0], blocks[1], blocks[2], blocks[4]);
        byte[] element = new byte[dtype.bytes()];
        boolean kept = true;
        for (long at : new long[] {0, bytes[2] - element.length}) {
            memory.download(blocks[2] + at, MemorySegment.ofArray(element));
            ByteBuffer bits = ByteBuffer.wrap(element).order(ByteOrder.nativeOrder());
            kept &= Float.isNaN(switch (dtype) {
                case F32 -> bits.getFloat();
                case BF16 -> Float16.bfloat16(bits.getShort());
                default -> Float.float16ToFloat(bits.getShort());
            });
        }
        return kept;
    }

    private void setBias(long address) {
        if (bias.get(ValueLayout.JAVA_LONG, 0) != address) {
            bias.set(ValueLayout.JAVA_LONG, 0, address);
            CublasLt.matmulDescSet(descriptors.product, CublasLt.CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias.address(), Long.BYTES);
        }
    }

    private void launch(long a, long b, long c, long workspace) {
        boolean wide = dtype == DType.F64;
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
            if (hasBias()) {
                setBias(addresses[2]);
            }
            launch(addresses[0], addresses[1], addresses[out], workspaceBytes > 0 ? addresses[out + 1] : 0);
        } catch (CudaException e) {
            throw e.in("matmul");
        }
    }
}
