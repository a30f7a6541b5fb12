// Everything a matrix product is planned by, apart from addresses.
package dev.heddle.engine.cpu;

import dev.heddle.engine.DType;

/**
 * {@code batch} row-major products {@code C (m, n) = op(A) op(B)}. Leading dimensions and strides from one product to the
 * next count elements; the strides of {@code A} and {@code B} may be 0, and do not matter if {@code batch} is 1.
 *
 * @param input dtype of {@code A} and {@code B}
 * @param result dtype of {@code C}; sums are accumulated in {@code F32}
 * @param ta whether {@code a} holds {@code (k, m)} rather than {@code (m, k)}
 * @param tb whether {@code b} holds {@code (n, k)} rather than {@code (k, n)}
 * @param bias whether a {@code (n)} vector of dtype {@code result} is added to each row
 * @param relu whether {@code max(C, 0)} is stored
 */
public record OneDnnMatMulShape(DType input, DType result, boolean ta, boolean tb, long batch, long m, long n, long k,
        long lda, long strideA, long ldb, long strideB, long ldc, long strideC, boolean bias, boolean relu) {
}
