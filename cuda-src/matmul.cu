// Matrix products where cuBLASLt does not serve: integers, strides it does not take, and machines without it. 32x32 tiles in shared
// memory, any strides, products summed in order.
#include "common.cuh"
#include "expression.cuh"

#ifndef DTYPE
#define DTYPE f32
#endif

typedef decltype(widen(DTYPE())) sum_t;
constexpr int TILE = 32;

/// Extents and strides in elements; up to four leading axes, those not used have extent 1.
struct Geometry {
    int64_t m;
    int64_t n;
    int64_t k;
    int64_t batch[4];
    int64_t a_batch[4];
    int64_t b_batch[4];
    int64_t a_row;
    int64_t a_column;
    int64_t b_row;
    int64_t b_column;
};

/// c (..., m, n), contiguous, = a (..., m, k) b (..., k, n). Grid: (ceil(n / 32), ceil(m / 32), products), blocks of (32, 8).
extern "C" __global__ void matmul(DTYPE* c, const DTYPE* a, const DTYPE* b, Geometry g) {
    __shared__ sum_t a_tile[TILE][TILE + 1];
    __shared__ sum_t b_tile[TILE][TILE + 1];
    int64_t rest = blockIdx.z;
    for (int i = 3; i >= 0; i--) {
        a += rest % g.batch[i] * g.a_batch[i];
        b += rest % g.batch[i] * g.b_batch[i];
        rest /= g.batch[i];
    }
    c += static_cast<int64_t>(blockIdx.z) * g.m * g.n;
    int64_t row = static_cast<int64_t>(blockIdx.y) * TILE;
    int64_t column = static_cast<int64_t>(blockIdx.x) * TILE + threadIdx.x;
    sum_t sums[4] = {0, 0, 0, 0};
    for (int64_t start = 0; start < g.k; start += TILE) {
        for (int i = threadIdx.y; i < TILE; i += 8) {
            int64_t ak = start + threadIdx.x;
            int64_t bk = start + i;
            a_tile[i][threadIdx.x] = row + i < g.m && ak < g.k ? widen(a[(row + i) * g.a_row + ak * g.a_column]) : sum_t(0);
            b_tile[i][threadIdx.x] = bk < g.k && column < g.n ? widen(b[bk * g.b_row + column * g.b_column]) : sum_t(0);
        }
        __syncthreads();
        for (int k = 0; k < TILE; k++) {
            for (int i = 0; i < 4; i++) {
                sums[i] += a_tile[threadIdx.y + 8 * i][k] * b_tile[k][threadIdx.x];
            }
        }
        __syncthreads();
    }
    for (int i = 0; i < 4; i++) {
        int64_t r = row + threadIdx.y + 8 * i;
        if (r < g.m && column < g.n) {
            c[r * g.n + column] = narrow<DTYPE>(sums[i]);
        }
    }
}
