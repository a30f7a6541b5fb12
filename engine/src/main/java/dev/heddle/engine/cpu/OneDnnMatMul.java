// Matrix products of 16-bit floats through oneDNN; those of F32 are OneDnn.parallelSgemm's, which needs no planning.
package dev.heddle.engine.cpu;

import dev.heddle.engine.DType;
import java.util.function.IntConsumer;

/**
 * A planned matrix product, spread over the {@link WorkerPool}: whole matrices of a batch where it has as many as there are
 * threads, otherwise tiles of each. One call runs at a time.
 */
public final class OneDnnMatMul {
    private static final OneDnnPlans<OneDnnMatMulShape, OneDnnMatMul> PLANS = new OneDnnPlans<>(OneDnnMatMul::new);

    private final OneDnnPrimitive[] parts;
    private final long[] aOffsets;
    private final long[] bOffsets;
    private final long[] cOffsets;
    private final long[] biasOffsets;
    private final long scratchBytes;

    private final IntConsumer runPart = this::runPart;
    private long a;
    private long b;
    private long bias;
    private long c;
    private long workspace;

    private OneDnnMatMul(OneDnnMatMulShape shape) throws UnsupportedByOneDnn {
        if (shape.batch() == 0 || shape.m() == 0 || shape.n() == 0 || shape.k() == 0) {
            throw new UnsupportedByOneDnn("empty");
        }
        int threads = WorkerPool.shared().threads();
        boolean small = 2 * shape.batch() * shape.m() * shape.n() * shape.k() < MatMulTiles.SMALL_FLOPS;
        boolean equal = shape.strideA() == 0 && shape.strideB() == 0; // products, of which oneDNN would make one
        int batches = equal ? Math.toIntExact(shape.batch()) : small || shape.batch() < threads ? 1 : threads;
        MatMulTiles tiles = new MatMulTiles().cut(shape.m(), shape.n(), small || batches > 1 ? 1 : threads);
        int count = batches * tiles.count();
        parts = new OneDnnPrimitive[count];
        aOffsets = new long[count];
        bOffsets = new long[count];
        cOffsets = new long[count];
        biasOffsets = new long[count];
        long scratch = 0;
        for (int i = 0; i < count; i++) {
            int group = i / tiles.count();
            int tile = i % tiles.count();
            long matrix = shape.batch() * group / batches;
            long row = tiles.firstRow(tile);
            long column = tiles.firstColumn(tile);
            aOffsets[i] = shape.input().bytes() * (matrix * shape.strideA() + (shape.ta() ? row : row * shape.lda()));
            bOffsets[i] = shape.input().bytes() * (matrix * shape.strideB() + (shape.tb() ? column * shape.ldb() : column));
            cOffsets[i] = shape.result().bytes() * (matrix * shape.strideC() + row * shape.ldc() + column);
            biasOffsets[i] = shape.result().bytes() * column;
            parts[i] = plan(shape, shape.batch() * (group + 1) / batches - matrix,
                    tiles.endRow(tile) - row, tiles.endColumn(tile) - column);
            scratch = Math.max(scratch, parts[i].scratchBytes());
        }
        scratchBytes = (scratch + 63) & -64;
    }

    /** The planned product, or null if oneDNN has no fast one: then {@link #unsupported} says why. */
    public static OneDnnMatMul of(OneDnnMatMulShape shape) {
        return PLANS.get(shape).plan();
    }

    /** Why {@link #of} returns null, or null if it does not. */
    public static String unsupported(OneDnnMatMulShape shape) {
        return PLANS.get(shape).unsupported();
    }

    private static OneDnnPrimitive plan(OneDnnMatMulShape shape, long batch, long m, long n) throws UnsupportedByOneDnn {
        try (OneDnnScope scope = new OneDnnScope()) {
            long a = operand(scope, shape.input(), batch, m, shape.k(), shape.ta(), shape.lda(), shape.strideA());
            long b = operand(scope, shape.input(), batch, shape.k(), n, shape.tb(), shape.ldb(), shape.strideB());
            long c = operand(scope, shape.result(), batch, m, n, false, shape.ldc(), shape.strideC());
            long bias = !shape.bias() ? 0 : batch == 1 ? scope.dense(shape.result(), 1, n) : scope.dense(shape.result(), 1, 1, n);
            Object[] arguments = {OneDnnApi.ENGINE, a, b, bias, c, scope.attributes(false, shape.relu())};
            return scope.primitive("dnnl_matmul_primitive_desc_create", arguments, OneDnnPrimitive.SRC,
                    OneDnnPrimitive.WEIGHTS, OneDnnPrimitive.DST, OneDnnPrimitive.BIAS);
        }
    }

    private static long operand(OneDnnScope scope, DType dtype, long batch, long rows, long columns, boolean transposed,
            long leading, long stride) {
        long down = transposed ? 1 : leading;
        long right = transposed ? leading : 1;
        if (batch == 1) {
            return scope.strided(dtype, new long[] {rows, columns}, new long[] {down, right});
        }
        long distinct = stride == 0 ? 1 : batch; // oneDNN broadcasts dimensions of 1
        return scope.strided(dtype, new long[] {distinct, rows, columns}, new long[] {Math.max(1, stride), down, right});
    }

    /** Bytes of 64-byte aligned memory that {@link #execute} needs; what they hold means nothing before and after. */
    public long workspaceBytes() {
        return parts.length * scratchBytes;
    }

    /** Multiplies; the arguments are addresses. The bias is not read if there is none in the shape. */
    public synchronized void execute(long a, long b, long bias, long c, long workspace) {
        this.a = a;
        this.b = b;
        this.bias = bias;
        this.c = c;
        this.workspace = workspace;
        WorkerPool.shared().parallelFor(parts.length, runPart);
    }

    private void runPart(int i) {
        OneDnnPrimitive part = parts[i];
        part.set(0, a + aOffsets[i]);
        part.set(1, b + bOffsets[i]);
        part.set(2, c + cOffsets[i]);
        part.set(3, bias + biasOffsets[i]);
        part.execute(workspace + i * scratchBytes);
    }
}
