// Spreads dnnl_sgemm over the worker pool: oneDNN's own threads would be a second pool.
package dev.heddle.engine.cpu;

import dev.heddle.engine.memory.Memory;
import dev.heddle.engine.memory.NativeMemory;
import java.nio.ByteOrder;
import java.util.function.IntConsumer;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorSpecies;

/**
 * One product in flight. Each calling thread has one of these, so that a call allocates nothing. Matrices of a batch are
 * computed whole where there are enough of them, otherwise in tiles; where the result is too small for that and
 * {@code k} is long, in slices of {@code k} that are summed in their order.
 */
final class ParallelSgemm {
    private static final ThreadLocal<ParallelSgemm> MINE = ThreadLocal.withInitial(ParallelSgemm::new);
    private static final VectorSpecies<Float> LANES = FloatVector.SPECIES_PREFERRED;
    private static final long SMALL_TILE = 32 * 32; // elements of a result below which slicing k is faster
    private static final long LONG_SLICE = 512;
    /** Where k is longer than this many rows or columns, tiles read the operands in strips too narrow to be fast. */
    private static final long LONG_RATIO = 16;

    private boolean ta;
    private boolean tb;
    private long m;
    private long n;
    private long k;
    private float alpha;
    private float beta;
    private long a;
    private long b;
    private long c;
    private long lda;
    private long ldb;
    private long ldc;
    private long strideA;
    private long strideB;
    private long strideC;

    private final MatMulTiles tiles = new MatMulTiles();
    private int slices;
    private long matrix;
    private long partials;
    private final WorkerPool.RangeBody runTiles = this::runTiles;
    private final IntConsumer runSlice = this::runSlice;

    /** See {@link OneDnn#batchedSgemm}. */
    static void run(boolean ta, boolean tb, long batch, long m, long n, long k, float alpha, long a, long lda, long strideA,
            long b, long ldb, long strideB, float beta, long c, long ldc, long strideC) {
        ParallelSgemm call = MINE.get();
        call.ta = ta;
        call.tb = tb;
        call.m = m;
        call.n = n;
        call.k = k;
        call.alpha = alpha;
        call.beta = beta;
        call.a = a;
        call.b = b;
        call.c = c;
        call.lda = lda;
        call.ldb = ldb;
        call.ldc = ldc;
        call.strideA = strideA;
        call.strideB = strideB;
        call.strideC = strideC;
        call.run(batch);
    }

    private void run(long batch) {
        WorkerPool pool = WorkerPool.shared();
        int threads = pool.threads();
        long flops = Math.max(1, 2 * m * n * k);
        tiles.cut(m, n, 1);
        if (pool.inline() || flops * batch < MatMulTiles.SMALL_FLOPS) {
            runTiles(0, batch);
            return;
        }
        if (batch % threads != 0 && batch < 4L * threads) {
            if (k >= LONG_SLICE * threads && (m * n < SMALL_TILE * threads || k >= LONG_RATIO * Math.max(m, n))) {
                runSlices(pool, batch, threads);
                return;
            }
            tiles.cut(m, n, threads);
        }
        long perTile = Math.max(1, flops / tiles.count());
        pool.parallelFor(batch * tiles.count(), Math.max(1, MatMulTiles.SMALL_FLOPS / 2 / perTile), runTiles);
    }

    private void runTiles(long from, long to) {
        for (long i = from; i < to; i++) {
            long matrix = i / tiles.count();
            long tile = i % tiles.count();
            long row = tiles.firstRow(tile);
            long column = tiles.firstColumn(tile);
            OneDnnApi.sgemm(ta, tb, tiles.endRow(tile) - row, tiles.endColumn(tile) - column, k, alpha,
                    a + Float.BYTES * (matrix * strideA + (ta ? row : row * lda)), lda,
                    b + Float.BYTES * (matrix * strideB + (tb ? column * ldb : column)), ldb,
                    beta, c + Float.BYTES * (matrix * strideC + row * ldc + column), ldc);
        }
    }

    private void runSlices(WorkerPool pool, long batch, int threads) {
        slices = threads;
        long bytes = Float.BYTES * m * n * (slices - 1);
        partials = NativeMemory.allocate(bytes);
        try {
            for (matrix = 0; matrix < batch; matrix++) {
                pool.parallelFor(slices, runSlice);
                for (int slice = 1; slice < slices; slice++) {
                    for (long row = 0; row < m; row++) {
                        add(c + Float.BYTES * (matrix * strideC + row * ldc), partial(slice) + Float.BYTES * row * n, 0, n);
                    }
                }
            }
        } finally {
            NativeMemory.free(partials, bytes);
        }
    }

    private void runSlice(int slice) {
        long from = k * slice / slices;
        long to = k * (slice + 1) / slices;
        OneDnnApi.sgemm(ta, tb, m, n, to - from, alpha,
                a + Float.BYTES * (matrix * strideA + (ta ? from * lda : from)), lda,
                b + Float.BYTES * (matrix * strideB + (tb ? from : from * ldb)), ldb,
                slice == 0 ? beta : 0, slice == 0 ? c + Float.BYTES * matrix * strideC : partial(slice),
                slice == 0 ? ldc : n);
    }

    private long partial(int slice) {
        return partials + Float.BYTES * m * n * (slice - 1);
    }

    /** {@code C *= beta}, which is all of a product whose {@code k} is 0, and which {@code dnnl_sgemm} leaves out then. */
    static void scale(long m, long n, float beta, long c, long ldc) {
        for (long row = 0; row < m; row++) {
            for (long column = 0; column < n; column++) {
                long address = c + Float.BYTES * (row * ldc + column);
                Memory.putFloat(address, beta == 0 ? 0 : beta * Memory.getFloat(address));
            }
        }
    }

    /** {@code target[i] += source[i]} for {@code from <= i < to}. */
    static void add(long target, long source, long from, long to) {
        long i = from;
        for (; i + LANES.length() <= to; i += LANES.length()) {
            long offset = i * Float.BYTES;
            FloatVector sum = FloatVector.fromMemorySegment(LANES, Memory.ALL, target + offset, ByteOrder.nativeOrder());
            sum.add(FloatVector.fromMemorySegment(LANES, Memory.ALL, source + offset, ByteOrder.nativeOrder()))
                    .intoMemorySegment(Memory.ALL, target + offset, ByteOrder.nativeOrder());
        }
        for (; i < to; i++) {
            long offset = i * Float.BYTES;
            Memory.putFloat(target + offset, Memory.getFloat(target + offset) + Memory.getFloat(source + offset));
        }
    }
}
