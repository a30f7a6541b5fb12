// Products through oneDNN against the obvious loop in double precision.
package dev.heddle.engine.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.heddle.engine.DType;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

class OneDnnTest {
    private static final long[][] SIZES = {{1, 1, 1}, {1, 13, 7}, {13, 1, 5}, {2, 3, 1}, {17, 19, 23}, {64, 64, 64},
        {33, 207, 65}, {128, 130, 129}, {5, 7, 4000}, {1, 3, 5000}};

    @BeforeAll
    static void needsTheLibrary() {
        String platform = System.getProperty("os.name") + "-" + System.getProperty("os.arch");
        if (platform.equals("Linux-amd64") && System.getProperty("heddle.cpu.native") == null) {
            assertNull(OneDnn.unavailableReason());
        }
        assumeTrue(OneDnn.available(), OneDnn.unavailableReason());
    }

    @Test
    void versionIsTheOneBoundTo() {
        assertTrue(OneDnn.version().startsWith("3.11."), OneDnn.version());
    }

    @Test
    void sgemmOnOneThread() {
        for (long[] size : SIZES) {
            compare(size, 1, (ta, tb, batch, m, n, k, alpha, a, lda, strideA, b, ldb, strideB, beta, c, ldc, strideC) ->
                    OneDnn.sgemm(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc));
        }
    }

    @Test
    void sgemmOnTheWorkerPool() {
        for (long[] size : SIZES) {
            compare(size, 1, (ta, tb, batch, m, n, k, alpha, a, lda, strideA, b, ldb, strideB, beta, c, ldc, strideC) ->
                    OneDnn.parallelSgemm(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc));
        }
    }

    @Test
    void batchedSgemm() {
        for (long[] size : SIZES) {
            for (int batch : new int[] {2, 9}) {
                compare(size, batch, OneDnn::batchedSgemm);
            }
        }
    }

    @Test
    void withoutAnInnerDimensionOnlyBetaRemains() {
        for (float beta : new float[] {0, 0.5f}) {
            try (var c = NativeFloats.random(DType.F32, 6, 1); var old = NativeFloats.random(DType.F32, 6, 1)) {
                long nowhere = old.address();
                OneDnn.parallelSgemm(false, false, 2, 3, 0, 1, nowhere, 1, nowhere, 3, beta, c.address(), 3);
                for (int i = 0; i < 6; i++) {
                    assertEquals(beta * old.get(i), c.get(i), 0);
                }
                OneDnn.parallelSgemm(false, false, 0, 3, 2, 1, nowhere, 2, nowhere, 3, 0, c.address(), 3);
                assertEquals(beta * old.get(0), c.get(0), 0);
            }
        }
    }

    @Test
    void wrongLeadingDimensionsAreNamed() {
        var e = assertThrows(IllegalStateException.class,
                () -> OneDnn.sgemm(false, false, 2, 3, 4, 1, 0, 1, 0, 3, 0, 0, 3));
        assertTrue(e.getMessage().contains("lda 1") && e.getMessage().contains("invalid arguments"), e.getMessage());
    }

    @Test
    void theSameProductHasTheSameBits() {
        for (long[] size : new long[][] {{100, 200, 300}, {8, 8, 50_000}}) {
            long m = size[0];
            long n = size[1];
            long k = size[2];
            try (var a = NativeFloats.random(DType.F32, m * k, 1);
                    var b = NativeFloats.random(DType.F32, k * n, 2);
                    var first = NativeFloats.nan(DType.F32, m * n);
                    var again = NativeFloats.nan(DType.F32, m * n)) {
                OneDnn.parallelSgemm(false, false, m, n, k, 1, a.address(), k, b.address(), n, 0, first.address(), n);
                for (int round = 0; round < 20; round++) {
                    OneDnn.parallelSgemm(false, false, m, n, k, 1, a.address(), k, b.address(), n, 0, again.address(), n);
                    for (long i = 0; i < m * n; i++) {
                        assertEquals(first.get(i), again.get(i));
                    }
                }
            }
        }
    }

    @Test
    void tilesCoverEachElementOnce() {
        for (int parts : new int[] {1, 2, 3, 4, 7, 16, 64}) {
            for (long[] size : SIZES) {
                MatMulTiles tiles = new MatMulTiles().cut(size[0], size[1], parts);
                assertTrue(tiles.count() <= parts);
                long covered = 0;
                for (int tile = 0; tile < tiles.count(); tile++) {
                    long rows = tiles.endRow(tile) - tiles.firstRow(tile);
                    long columns = tiles.endColumn(tile) - tiles.firstColumn(tile);
                    assertTrue(rows > 0 && columns > 0, parts + " parts of " + size[0] + "x" + size[1]);
                    covered += rows * columns;
                }
                assertEquals(size[0] * size[1], covered);
            }
        }
        assertEquals(1, new MatMulTiles().cut(128, 512, 2).rows());
        assertEquals(2, new MatMulTiles().cut(784, 512, 2).rows());
        assertEquals(4, new MatMulTiles().cut(1024, 1024, 16).columns());
    }

    @Test
    void plannedProducts() {
        for (DType input : new DType[] {DType.BF16, DType.F16, DType.F32}) {
            for (DType result : new DType[] {input, DType.F32}) {
                for (long[] size : SIZES) {
                    for (int flags = 0; flags < 8; flags++) {
                        matMul(input, result, (flags & 1) != 0, (flags & 2) != 0, (flags & 4) != 0, 1 + flags % 3, size, false, false);
                        matMul(input, result, (flags & 1) != 0, (flags & 2) != 0, false, 1 + flags % 3, size, true, (flags & 4) != 0);
                    }
                }
            }
        }
    }

    private static void matMul(DType input, DType result, boolean ta, boolean tb, boolean oneB, long batch, long[] size,
            boolean bias, boolean relu) {
        long m = size[0];
        long n = size[1];
        long k = size[2];
        long lda = (ta ? m : k) + 3;
        long ldb = tb ? k : n;
        long strideA = oneB && batch == 3 ? 0 : (ta ? k : m) * lda;
        var shape = new OneDnnMatMulShape(input, result, ta, tb, batch, m, n, k, lda, strideA, ldb,
                oneB ? 0 : k * n, n, m * n, bias, relu);
        OneDnnMatMul product = OneDnnMatMul.of(shape);
        if (product == null) { // 16-bit floats need a processor that has them
            assertNotNull(OneDnnMatMul.unsupported(shape));
            assertFalse(input == DType.F32, shape.toString());
            return;
        }
        assertNull(OneDnnMatMul.unsupported(shape));
        try (var a = NativeFloats.random(input, batch * (ta ? k : m) * lda, 1);
                var b = NativeFloats.random(input, batch * k * n, 2);
                var c = NativeFloats.nan(result, batch * m * n);
                var added = NativeFloats.random(result, n, 3);
                var workspace = NativeFloats.nan(DType.F32, product.workspaceBytes() / 4)) {
            product.execute(a.address(), b.address(), added.address(), c.address(), workspace.address());
            for (long i = 0; i < batch * m * n; i++) {
                long matrix = i / (m * n);
                long row = i / n % m;
                long column = i % n;
                double sum = bias ? added.get(column) : 0;
                for (long j = 0; j < k; j++) {
                    sum += (double) a.get(matrix * shape.strideA() + (ta ? j * lda + row : row * lda + j))
                            * b.get(matrix * shape.strideB() + (tb ? column * ldb + j : j * ldb + column));
                }
                double rounding = result == DType.F32 ? 1e-6 : 1.0 / 256;
                sum = relu ? Math.max(sum, 0) : sum;
                double expected = sum;
                long at = i;
                assertEquals(expected, c.get(i), 1e-5 * Math.sqrt(k) + rounding * Math.abs(expected), () -> shape + " at " + at);
            }
        }
    }

    private interface Product {
        void run(boolean ta, boolean tb, long batch, long m, long n, long k, float alpha, long a, long lda, long strideA,
                long b, long ldb, long strideB, float beta, long c, long ldc, long strideC);
    }

    private static void compare(long[] size, long batch, Product product) {
        long m = size[0];
        long n = size[1];
        long k = size[2];
        for (int flags = 0; flags < 8; flags++) {
            boolean ta = (flags & 1) != 0;
            boolean tb = (flags & 2) != 0;
            float beta = (flags & 4) != 0 ? 0.5f : 0;
            float alpha = beta == 0 ? 1 : -2;
            long lda = (ta ? m : k) + 5;
            long ldb = (tb ? k : n) + 2;
            long ldc = n + 1;
            long strideA = (ta ? k : m) * lda + 5;
            long strideB = (tb ? n : k) * ldb;
            long strideC = m * ldc + 1;
            try (var a = NativeFloats.random(DType.F32, batch * strideA, 1);
                    var b = NativeFloats.random(DType.F32, batch * strideB, 2);
                    var old = NativeFloats.random(DType.F32, batch * strideC, 3); // with beta 0 it must not be read
                    var c = beta == 0 ? NativeFloats.nan(DType.F32, batch * strideC)
                            : NativeFloats.random(DType.F32, batch * strideC, 3)) {
                product.run(ta, tb, batch, m, n, k, alpha, a.address(), lda, strideA, b.address(), ldb, strideB, beta,
                        c.address(), ldc, strideC);
                for (long i = 0; i < batch * strideC; i++) {
                    long row = i % strideC / ldc;
                    long column = i % strideC % ldc;
                    if (row == m || column == n) { // a gap between rows or matrices
                        assertEquals(beta == 0 ? Float.NaN : old.get(i), c.get(i));
                        continue;
                    }
                    double sum = 0;
                    for (long j = 0; j < k; j++) {
                        sum += (double) a.get(i / strideC * strideA + (ta ? j * lda + row : row * lda + j))
                                * b.get(i / strideC * strideB + (tb ? column * ldb + j : j * ldb + column));
                    }
                    long at = i;
                    assertEquals(alpha * sum + beta * old.get(i), c.get(i), 2e-5 * Math.sqrt(k),
                            () -> m + "x" + n + "x" + k + " " + ta + " " + tb + " at " + at);
                }
            }
        }
    }
}
