// Whether oneDNN is here, and single-precision matrix products through it.
package dev.heddle.engine.cpu;

import org.slf4j.LoggerFactory;

/**
 * The oneDNN library that {@code org.bytedeco:dnnl} carries, if it could be loaded; the products below may only be called
 * then. Matrices are row-major at absolute addresses; leading dimensions and strides count elements. {@code op(X)} is
 * {@code X}, or its transpose if {@code tx}: {@code a} holds {@code (m, k)}, transposed {@code (k, m)}; {@code b} holds
 * {@code (k, n)}, transposed {@code (n, k)}.
 */
public final class OneDnn {
    private static final String VERSION;
    private static final String UNAVAILABLE_REASON;

    static {
        String version = null;
        String reason = null;
        if (System.getProperty("heddle.cpu.native", "true").equals("false")) {
            reason = "switched off by -Dheddle.cpu.native=false";
        } else {
            try {
                version = OneDnnApi.version();
            } catch (Exception | LinkageError e) {
                Throwable cause = e instanceof ExceptionInInitializerError ? e.getCause() : e;
                reason = cause.getMessage() == null ? cause.toString() : cause.getMessage();
            }
        }
        VERSION = version;
        UNAVAILABLE_REASON = reason;
        if (reason != null) {
            LoggerFactory.getLogger(OneDnn.class).info("plain Java instead of oneDNN, which is slower: {}", reason);
        }
    }

    private OneDnn() {
    }

    /** Whether the library is loaded. */
    public static boolean available() {
        return UNAVAILABLE_REASON == null;
    }

    /** Why {@link #available()} is false, or null if it is true. */
    public static String unavailableReason() {
        return UNAVAILABLE_REASON;
    }

    /** {@code major.minor.patch}, or null if the library is not available. */
    public static String version() {
        return VERSION;
    }

    /** {@code C = alpha op(A) op(B) + beta C} on the calling thread; {@code C} is not read if {@code beta} is 0. */
    public static void sgemm(boolean ta, boolean tb, long m, long n, long k, float alpha, long a, long lda, long b,
            long ldb, float beta, long c, long ldc) {
        OneDnnApi.sgemm(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
    }

    /** {@link #sgemm} spread over the {@link WorkerPool}. */
    public static void parallelSgemm(boolean ta, boolean tb, long m, long n, long k, float alpha, long a, long lda, long b,
            long ldb, float beta, long c, long ldc) {
        ParallelSgemm.run(ta, tb, 1, m, n, k, alpha, a, lda, 0, b, ldb, 0, beta, c, ldc, 0);
    }

    /**
     * {@code batch} products spread over the {@link WorkerPool}; the matrices of product {@code i} begin {@code i} strides
     * behind the given addresses. {@code strideA} and {@code strideB} may be 0.
     */
    public static void batchedSgemm(boolean ta, boolean tb, long batch, long m, long n, long k, float alpha, long a,
            long lda, long strideA, long b, long ldb, long strideB, float beta, long c, long ldc, long strideC) {
        ParallelSgemm.run(ta, tb, batch, m, n, k, alpha, a, lda, strideA, b, ldb, strideB, beta, c, ldc, strideC);
    }
}
