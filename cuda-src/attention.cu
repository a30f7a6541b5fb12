// Attention that never stores the matrix of scores: FlashAttention-2 (Dao, 2023) on tensor cores (mma.sync m16n8k16, sm_80 and up), for
// bf16 and f16 and head dimensions 32, 64, 96 and 128. Other dimensions and f32: attention_simple.cu.
//
//   s = scale q k^T      p = e^(s - lse), lse = ln sum e^s over visible keys      out = p v
//   delta = rowsum(dout out)      ds = p (dout v^T - delta)
//   dv = p^T dout      dq = scale ds k      dk = scale ds^T q
//
// Query i sees keys j <= i + causal_offset (0: PyTorch's is_causal; keys - queries: the last query sees all; keys: no mask), and of those
// only j < key_lengths[batch] if that is given. A query that sees none gets out 0 and lse -infinity.
//
// q, out, dq, dout: (batch, heads, queries, D); k, v, dk, dv: (batch, heads / group, keys, D), each with its strides (elements between
// batches, heads and rows), so that views of a packed (batch, rows, 3, heads, D) serve as well as (batch, heads, rows, D). The last
// axis is contiguous; addresses are multiples of 16 bytes, strides of 8 elements. lse, delta: float (batch, heads, queries), contiguous;
// key_lengths: int32 (batch) or null. scale > 0, usually 1 / sqrt(D). queries, keys below 2^30.
//
// The backward is attention_delta (attention_simple.cu), then attention_backward_q and attention_backward_kv in any order. Keys and
// queries each have a kernel of their own, which recomputes p, so that nothing is added atomically: same input, same bits.
//
// Compiled at first use, one head dimension is quicker than four: #define ONLY_D 64 in front leaves out the others.
//
// Launch: grid (ceil(rows / ROWS), heads, batch), for backward_kv (ceil(keys / ROWS), heads / group, batch). Dynamic shared memory over
// 48 KB has to be allowed first (cuFuncSetAttribute).
//
//                  forward               backward_q             backward_kv
//      D     ROWS threads shared   ROWS threads shared   ROWS threads shared
//     32      128    128   16384    128    128   24576     64    128   25600
//     64      128    128   32768    128    128   49152     64    128   50176
//     96      128    128   36864     64    128   49152     64    128   49664
//    128      128    128   49152     64    128   65536     64    128   66048
#include "common.cuh"

constexpr float LOG2_E = 1.44269504f;

// ---- tiles: rows of D elements in shared memory, 16-byte chunks permuted so that eight rows' chunks lie in different banks

template <int D> __device__ __forceinline__ int place(int row, int chunk) {
    return row * D + ((D / 8 % 8 == 0 ? chunk ^ (row & 7) : chunk ^ (row >> 1 & 3)) * 8);
}

/// Starts copying rows first to first + ROWS - 1; those from limit on become zeros.
template <int D, int ROWS, int THREADS, class T>
__device__ __forceinline__ void copy_tile(T* tile, const T* rows, int64_t stride, int first, int limit) {
    constexpr int CHUNKS = D / 8;
#pragma unroll
    for (int i = threadIdx.x; i < ROWS * CHUNKS; i += THREADS) {
        int row = i / CHUNKS;
        int chunk = i % CHUNKS;
        bool valid = first + row < limit;
        cp_async_16(tile + place<D>(row, chunk), rows + (valid ? (first + row) * stride + chunk * 8 : 0), valid);
    }
}

__device__ __forceinline__ int lane() { return threadIdx.x % WARP; }

/// A operand: rows row to row + 15, columns k to k + 15.
template <int D, class T> __device__ __forceinline__ void load_a(uint32_t (&a)[4], const T* tile, int row, int k) {
    ldmatrix_x4(a, tile + place<D>(row + lane() % 16, k / 8 + lane() / 16));
}

/// Two B operands of 16x8, the tile's rows being columns of b: rows n to n + 15, columns k to k + 15.
template <int D, class T> __device__ __forceinline__ void load_b(uint32_t (&b)[2][2], const T* tile, int n, int k) {
    uint32_t r[4];
    ldmatrix_x4(r, tile + place<D>(n + lane() % 8 + lane() / 16 * 8, k / 8 + lane() / 8 % 2));
    b[0][0] = r[0];
    b[0][1] = r[1];
    b[1][0] = r[2];
    b[1][1] = r[3];
}

/// Two B operands of 16x8, the tile's rows being rows of b: rows k to k + 15, columns n to n + 15.
template <int D, class T> __device__ __forceinline__ void load_b_trans(uint32_t (&b)[2][2], const T* tile, int k, int n) {
    uint32_t r[4];
    ldmatrix_x4_trans(r, tile + place<D>(k + lane() % 16, n / 8 + lane() / 16));
    b[0][0] = r[0];
    b[0][1] = r[1];
    b[1][0] = r[2];
    b[1][1] = r[3];
}

/// Accumulators of a 16 x 16 block, rounded, as an A operand: the layouts agree.
template <class T> __device__ __forceinline__ void as_a(uint32_t (&a)[4], const float (&left)[4], const float (&right)[4]) {
    a[0] = pack(left[0], left[1], T());
    a[1] = pack(left[2], left[3], T());
    a[2] = pack(right[0], right[1], T());
    a[3] = pack(right[2], right[3], T());
}

/// c (16 M, 8 N) += a b^T, over D: rows of a from `row` on, all N * 8 rows of b.
template <int D, int M, int N, class T>
__device__ __forceinline__ void multiply_rows(float (&c)[M][N][4], const T* a_tile, int row, const T* b_tile) {
#pragma unroll
    for (int k = 0; k < D; k += 16) {
        uint32_t a[M][4];
#pragma unroll
        for (int m = 0; m < M; m++) {
            load_a<D>(a[m], a_tile, row + 16 * m, k);
        }
#pragma unroll
        for (int n = 0; n < N; n += 2) {
            uint32_t b[2][2];
            load_b<D>(b, b_tile, 8 * n, k);
#pragma unroll
            for (int m = 0; m < M; m++) {
                mma_16816(c[m][n], a[m], b[0], T());
                mma_16816(c[m][n + 1], a[m], b[1], T());
            }
        }
    }
}

/// c (16 M, D) += p b: p (16 M, 8 N) from registers, rounded to T; all N * 8 rows of b.
template <int D, int M, int N, class T>
__device__ __forceinline__ void multiply_weights(float (&c)[M][D / 8][4], const float (&p)[M][N][4], const T* b_tile) {
#pragma unroll
    for (int k = 0; k < N; k += 2) {
        uint32_t a[M][4];
#pragma unroll
        for (int m = 0; m < M; m++) {
            as_a<T>(a[m], p[m][k], p[m][k + 1]);
        }
#pragma unroll
        for (int n = 0; n < D / 8; n += 2) {
            uint32_t b[2][2];
            load_b_trans<D>(b, b_tile, 8 * k, 8 * n);
#pragma unroll
            for (int m = 0; m < M; m++) {
                mma_16816(c[m][n], a[m], b[0], T());
                mma_16816(c[m][n + 1], a[m], b[1], T());
            }
        }
    }
}

/// Stores c (16 M, D), scaled by row, as rows first to first + 16 M - 1 of a matrix with `limit` rows, through the warp's own part of
/// shared memory, from tile row `row` on, which nobody else may be using any more. scale(m, half) is for row 16 m + 8 half + lane / 4.
template <int D, int M, class T, class Scale>
__device__ __forceinline__ void store_rows(T* rows, int64_t stride, int first, int limit, T* tile, int row, const float (&c)[M][D / 8][4],
                                           Scale scale) {
#pragma unroll
    for (int m = 0; m < M; m++) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float by = scale(m, half);
            int at = row + 16 * m + 8 * half + lane() / 4;
#pragma unroll
            for (int n = 0; n < D / 8; n++) {
                uint32_t pair = pack(c[m][n][2 * half] * by, c[m][n][2 * half + 1] * by, T());
                *reinterpret_cast<uint32_t*>(tile + place<D>(at, n) + lane() % 4 * 2) = pair;
            }
        }
    }
    __syncwarp();
    for (int i = lane(); i < 16 * M * D / 8; i += WARP) {
        int at = i / (D / 8);
        int chunk = i % (D / 8);
        if (first + at < limit) {
            store(rows + (first + at) * stride + chunk * 8, load<8>(tile + place<D>(row + at, chunk)));
        }
    }
}

/// How many keys a query sees, of those within its batch's length.
__device__ __forceinline__ int visible(int query, int causal_offset, int keys) { return min(keys, query + causal_offset + 1); }

__device__ __forceinline__ int length(const int32_t* key_lengths, int keys) {
    return key_lengths ? min(keys, max(0, key_lengths[blockIdx.z])) : keys;
}

__device__ __forceinline__ float quad_max(float x) {
    x = fmaxf(x, __shfl_xor_sync(ALL_LANES, x, 1));
    return fmaxf(x, __shfl_xor_sync(ALL_LANES, x, 2));
}

__device__ __forceinline__ float quad_sum(float x) {
    x += __shfl_xor_sync(ALL_LANES, x, 1);
    return x + __shfl_xor_sync(ALL_LANES, x, 2);
}

// ---- forward: a block has WARPS * 16 M queries and goes through the keys, KEYS at a time

template <class T, int D, int WARPS, int M, int KEYS>
__device__ __forceinline__ void forward(T* out, float* lse, const T* q, const T* k, const T* v, const int32_t* key_lengths, int queries,
                                        int keys, int causal_offset, float scale, int64_t out_row, int64_t q_row, int64_t k_row,
                                        int64_t v_row) {
    constexpr int QUERIES = WARPS * 16 * M;
    constexpr int N = KEYS / 8;
    DYNAMIC_SHARED(unsigned char, shared);
    T* q_tile = reinterpret_cast<T*>(shared); // (QUERIES, D)
    T* k_tile = q_tile + QUERIES * D; // (KEYS, D)
    T* v_tile = k_tile + KEYS * D; // (KEYS, D)
    int block_query = (gridDim.x - 1 - blockIdx.x) * QUERIES; // with a causal mask the last see most: they begin first
    int row = threadIdx.x / WARP * 16 * M; // of the warp in the tile
    int first_query = block_query + row;
    keys = length(key_lengths, keys);
    int end = visible(min(queries, block_query + QUERIES) - 1, causal_offset, keys);
    float to_log2 = scale * LOG2_E;

    float o[M][D / 8][4] = {};
    float maximum[M][2];
    float sum[M][2] = {};
    for (int m = 0; m < M; m++) {
        maximum[m][0] = maximum[m][1] = -infinity();
    }
    copy_tile<D, QUERIES, WARPS * WARP>(q_tile, q, q_row, block_query, queries);
    copy_tile<D, KEYS, WARPS * WARP>(k_tile, k, k_row, 0, keys);
    cp_async_commit();

    for (int first_key = 0; first_key < end; first_key += KEYS) {
        cp_async_wait<0>();
        __syncthreads(); // the keys are here, and the last values have been used
        copy_tile<D, KEYS, WARPS * WARP>(v_tile, v, v_row, first_key, keys);
        cp_async_commit();

        float s[M][N][4] = {};
        multiply_rows<D>(s, q_tile, row, k_tile); // (queries, keys)
        if (first_key + KEYS > visible(first_query, causal_offset, keys)) {
#pragma unroll
            for (int m = 0; m < M; m++) {
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    int seen = visible(first_query + 16 * m + i / 2 * 8 + lane() / 4, causal_offset, keys);
#pragma unroll
                    for (int n = 0; n < N; n++) {
                        if (first_key + 8 * n + lane() % 4 * 2 + i % 2 >= seen) {
                            s[m][n][i] = -infinity();
                        }
                    }
                }
            }
        }
#pragma unroll
        for (int m = 0; m < M; m++) {
#pragma unroll
            for (int half = 0; half < 2; half++) {
                float now = maximum[m][half];
#pragma unroll
                for (int n = 0; n < N; n++) {
                    now = fmaxf(now, fmaxf(s[m][n][2 * half], s[m][n][2 * half + 1]));
                }
                now = quad_max(now);
                float base = now == -infinity() ? 0 : now * to_log2;
                float shrink = exp2_approx(maximum[m][half] * to_log2 - base);
                maximum[m][half] = now;
                float added = 0;
#pragma unroll
                for (int n = 0; n < N; n++) {
#pragma unroll
                    for (int i = 2 * half; i < 2 * half + 2; i++) {
                        s[m][n][i] = exp2_approx(s[m][n][i] * to_log2 - base);
                        added += s[m][n][i];
                    }
                }
                sum[m][half] = sum[m][half] * shrink + added;
#pragma unroll
                for (int n = 0; n < D / 8; n++) {
                    o[m][n][2 * half] *= shrink;
                    o[m][n][2 * half + 1] *= shrink;
                }
            }
        }

        cp_async_wait<0>();
        __syncthreads(); // the values are here, and the keys have been used
        if (first_key + KEYS < end) {
            copy_tile<D, KEYS, WARPS * WARP>(k_tile, k, k_row, first_key + KEYS, keys);
            cp_async_commit();
        }
        multiply_weights<D>(o, s, v_tile); // (queries, D)
    }
    cp_async_wait<0>();
    __syncthreads(); // where no key is visible, the queries may still be on their way

#pragma unroll
    for (int m = 0; m < M; m++) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float total = quad_sum(sum[m][half]);
            int query = first_query + 16 * m + 8 * half + lane() / 4;
            if (lse && lane() % 4 == 0 && query < queries) {
                lse[query] = total == 0 ? -infinity() : maximum[m][half] * scale + logf(total);
            }
            sum[m][half] = total == 0 ? 0 : 1 / total;
        }
    }
    store_rows<D>(out, out_row, first_query, queries, q_tile, row, o, [&](int m, int half) { return sum[m][half]; });
}

// ---- backward

/// e^(s - lse) from raw scores, by base 2; lse is given times log2(e), +infinity for queries that see nothing.
__device__ __forceinline__ float weight(float s, float to_log2, float lse) { return exp2_approx(s * to_log2 - lse); }

__device__ __forceinline__ float lse_base_2(const float* lse, int query, int queries) {
    float x = query < queries ? lse[query] : -infinity();
    return x == -infinity() ? infinity() : x * LOG2_E;
}

/// dq: a block has WARPS * 16 M queries and goes through the keys, KEYS at a time, two tiles in flight.
template <class T, int D, int WARPS, int M, int KEYS>
__device__ __forceinline__ void backward_q(T* dq, const T* q, const T* k, const T* v, const T* dout, const float* lse, const float* delta,
                                           const int32_t* key_lengths, int queries, int keys, int causal_offset, float scale,
                                           int64_t dq_row, int64_t q_row, int64_t k_row, int64_t v_row, int64_t dout_row) {
    constexpr int QUERIES = WARPS * 16 * M;
    constexpr int N = KEYS / 8;
    constexpr int STAGE = 2 * KEYS * D; // keys, then values
    DYNAMIC_SHARED(unsigned char, shared);
    T* q_tile = reinterpret_cast<T*>(shared); // (QUERIES, D)
    T* dout_tile = q_tile + QUERIES * D; // (QUERIES, D)
    T* stages = dout_tile + QUERIES * D; // (2, 2, KEYS, D)
    int block_query = (gridDim.x - 1 - blockIdx.x) * QUERIES;
    int row = threadIdx.x / WARP * 16 * M;
    int first_query = block_query + row;
    keys = length(key_lengths, keys);
    int end = visible(min(queries, block_query + QUERIES) - 1, causal_offset, keys);
    float to_log2 = scale * LOG2_E;

    float row_lse[M][2];
    float row_delta[M][2];
    for (int m = 0; m < M; m++) {
        for (int half = 0; half < 2; half++) {
            int query = first_query + 16 * m + 8 * half + lane() / 4;
            row_lse[m][half] = lse_base_2(lse, query, queries);
            row_delta[m][half] = query < queries ? delta[query] : 0;
        }
    }
    copy_tile<D, QUERIES, WARPS * WARP>(q_tile, q, q_row, block_query, queries);
    copy_tile<D, QUERIES, WARPS * WARP>(dout_tile, dout, dout_row, block_query, queries);
    copy_tile<D, KEYS, WARPS * WARP>(stages, k, k_row, 0, keys);
    copy_tile<D, KEYS, WARPS * WARP>(stages + KEYS * D, v, v_row, 0, keys);
    cp_async_commit();

    float gradient[M][D / 8][4] = {};
    T* here = stages;
    T* next = stages + STAGE;
    for (int first_key = 0; first_key < end; first_key += KEYS) {
        cp_async_wait<0>();
        __syncthreads(); // this tile is here, and the last has been used
        if (first_key + KEYS < end) {
            copy_tile<D, KEYS, WARPS * WARP>(next, k, k_row, first_key + KEYS, keys);
            copy_tile<D, KEYS, WARPS * WARP>(next + KEYS * D, v, v_row, first_key + KEYS, keys);
            cp_async_commit();
        }
        float p[M][N][4] = {};
        multiply_rows<D>(p, q_tile, row, here); // (queries, keys)
        bool masked = first_key + KEYS > visible(first_query, causal_offset, keys);
        float ds[M][N][4] = {};
        multiply_rows<D>(ds, dout_tile, row, here + KEYS * D);
#pragma unroll
        for (int m = 0; m < M; m++) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                int seen = visible(first_query + 16 * m + i / 2 * 8 + lane() / 4, causal_offset, keys);
#pragma unroll
                for (int n = 0; n < N; n++) {
                    float w = weight(p[m][n][i], to_log2, row_lse[m][i / 2]);
                    if (masked && first_key + 8 * n + lane() % 4 * 2 + i % 2 >= seen) {
                        w = 0;
                    }
                    ds[m][n][i] = w * (ds[m][n][i] - row_delta[m][i / 2]);
                }
            }
        }
        multiply_weights<D>(gradient, ds, here); // (queries, D)
        T* used = here;
        here = next;
        next = used;
    }
    cp_async_wait<0>();
    __syncthreads();
    store_rows<D>(dq, dq_row, first_query, queries, q_tile, row, gradient, [&](int, int) { return scale; });
}

/// dk and dv: a block has WARPS * 16 keys and goes through the queries of all heads that use them, QUERIES at a time, two tiles in
/// flight. Scores are computed transposed, (keys, queries), so that they are the A operand of both products that follow.
template <class T, int D, int WARPS, int QUERIES>
__device__ __forceinline__ void backward_kv(T* dk, T* dv, const T* q, const T* k, const T* v, const T* dout, const float* lse,
                                            const float* delta, const int32_t* key_lengths, int queries, int keys, int group,
                                            int causal_offset, float scale, int64_t dk_row, int64_t dv_row, int64_t q_head, int64_t q_row,
                                            int64_t k_row, int64_t v_row, int64_t dout_head, int64_t dout_row) {
    constexpr int KEYS = WARPS * 16;
    constexpr int THREADS = WARPS * WARP;
    constexpr int N = QUERIES / 8;
    constexpr int STAGE = 2 * QUERIES * D; // queries, then gradients of out
    static_assert(QUERIES <= THREADS, "a thread brings the numbers of one query");
    DYNAMIC_SHARED(unsigned char, shared);
    T* k_tile = reinterpret_cast<T*>(shared); // (KEYS, D)
    T* v_tile = k_tile + KEYS * D; // (KEYS, D)
    T* stages = v_tile + KEYS * D; // (2, 2, QUERIES, D)
    float* numbers = reinterpret_cast<float*>(stages + 2 * STAGE); // (2, QUERIES, 2): lse, delta
    int block_key = blockIdx.x * KEYS;
    int row = threadIdx.x / WARP * 16;
    int first_key = block_key + row;
    int stored = keys;
    keys = length(key_lengths, keys);
    float to_log2 = scale * LOG2_E;
    int begin = max(0, block_key - causal_offset) / QUERIES * QUERIES; // of the queries that see any of these keys
    int tiles = block_key < keys && begin < queries ? (queries - begin + QUERIES - 1) / QUERIES : 0; // a head

    copy_tile<D, KEYS, THREADS>(k_tile, k, k_row, block_key, keys);
    copy_tile<D, KEYS, THREADS>(v_tile, v, v_row, block_key, keys);
    cp_async_commit();

    float of_query[2] = {}; // lse and delta of the query that this thread brings
    auto fetch = [&](T* to, int head, int first_query) {
        copy_tile<D, QUERIES, THREADS>(to, q + head * q_head, q_row, first_query, queries);
        copy_tile<D, QUERIES, THREADS>(to + QUERIES * D, dout + head * dout_head, dout_row, first_query, queries);
        cp_async_commit();
        int query = first_query + threadIdx.x;
        if (threadIdx.x < QUERIES) {
            of_query[0] = lse_base_2(lse + static_cast<int64_t>(head) * queries, query, queries);
            of_query[1] = query < queries ? delta[static_cast<int64_t>(head) * queries + query] : 0;
        }
    };
    auto put = [&](float* to) {
        if (threadIdx.x < QUERIES) {
            to[2 * threadIdx.x] = of_query[0];
            to[2 * threadIdx.x + 1] = of_query[1];
        }
    };

    float key_gradient[1][D / 8][4] = {};
    float value_gradient[1][D / 8][4] = {};
    if (tiles > 0) {
        fetch(stages, 0, begin);
        put(numbers);
    }
    int head = 0;
    int first_query = begin;
    for (int step = 0; step < tiles * group; step++) {
        T* here = stages + step % 2 * STAGE;
        float* here_numbers = numbers + step % 2 * 2 * QUERIES;
        int next_head = first_query + QUERIES < queries ? head : head + 1;
        int next_query = next_head == head ? first_query + QUERIES : begin;
        cp_async_wait<0>();
        __syncthreads(); // this tile is here, and the last has been used
        if (next_head < group) {
            fetch(stages + (step + 1) % 2 * STAGE, next_head, next_query);
        }

        float p[1][N][4] = {};
        multiply_rows<D>(p, k_tile, row, here); // (keys, queries)
        bool masked = first_key + 16 > visible(first_query, causal_offset, keys);
#pragma unroll
        for (int n = 0; n < N; n++) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                int query = 8 * n + lane() % 4 * 2 + i % 2;
                p[0][n][i] = weight(p[0][n][i], to_log2, here_numbers[2 * query]);
                if (masked && first_key + i / 2 * 8 + lane() / 4 >= visible(first_query + query, causal_offset, keys)) {
                    p[0][n][i] = 0;
                }
            }
        }
        multiply_weights<D>(value_gradient, p, here + QUERIES * D); // (keys, D)

        float ds[1][N][4] = {};
        multiply_rows<D>(ds, v_tile, row, here + QUERIES * D); // (keys, queries)
#pragma unroll
        for (int n = 0; n < N; n++) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                ds[0][n][i] = p[0][n][i] * (ds[0][n][i] - here_numbers[2 * (8 * n + lane() % 4 * 2 + i % 2) + 1]);
            }
        }
        multiply_weights<D>(key_gradient, ds, here); // (keys, D)

        if (next_head < group) {
            put(numbers + (step + 1) % 2 * 2 * QUERIES);
        }
        head = next_head;
        first_query = next_query;
    }
    cp_async_wait<0>();
    __syncthreads();
    store_rows<D>(dk, dk_row, first_key, stored, k_tile, row, key_gradient, [&](int, int) { return scale; });
    store_rows<D>(dv, dv_row, first_key, stored, v_tile, row, value_gradient, [](int, int) { return 1.0f; });
}

// attention_forward_dD_T: out; lse, or null if not wanted; q; k; v; key_lengths or null; queries; keys; group: heads that share a
//   key head; causal_offset; scale; then three strides each (batch, head, row) of out, q, k, v.
// attention_backward_q_dD_T: dq; q; k; v; dout; lse; delta; key_lengths or null; queries; keys; group; causal_offset; scale; strides of
//   dq, q, k, v, dout.
// attention_backward_kv_dD_T: dk; dv; q; k; v; dout; lse; delta; key_lengths or null; queries; keys; group; causal_offset; scale;
//   strides of dk, dv, q, k, v, dout.
#define STRIDES(NAME) int64_t NAME##_batch, int64_t NAME##_head, int64_t NAME##_row
#define AT(NAME, HEAD) NAME + blockIdx.z * NAME##_batch + (HEAD) * NAME##_head

#define EXPORT(T, D, FORWARD_WARPS, FORWARD_M, FORWARD_KEYS, Q_WARPS, Q_M, Q_KEYS, KV_WARPS, KV_QUERIES)                         \
    extern "C" __global__ void __launch_bounds__(FORWARD_WARPS * 32)                                                             \
        attention_forward_d##D##_##T(T* out, float* lse, const T* q, const T* k, const T* v, const int32_t* key_lengths,         \
                                     int queries, int keys, int group, int causal_offset, float scale, STRIDES(out), STRIDES(q), \
                                     STRIDES(k), STRIDES(v)) {                                                                   \
        int head = blockIdx.y;                                                                                                   \
        int64_t first = (static_cast<int64_t>(blockIdx.z) * gridDim.y + head) * queries;                                         \
        forward<T, D, FORWARD_WARPS, FORWARD_M, FORWARD_KEYS>(                                                                   \
            AT(out, head), lse ? lse + first : lse, AT(q, head), AT(k, head / group), AT(v, head / group), key_lengths, queries, \
            keys, causal_offset, scale, out_row, q_row, k_row, v_row);                                                           \
    }                                                                                                                            \
    extern "C" __global__ void __launch_bounds__(Q_WARPS * 32)                                                                   \
        attention_backward_q_d##D##_##T(T* dq, const T* q, const T* k, const T* v, const T* dout, const float* lse,              \
                                        const float* delta, const int32_t* key_lengths, int queries, int keys, int group,        \
                                        int causal_offset, float scale, STRIDES(dq), STRIDES(q), STRIDES(k), STRIDES(v),         \
                                        STRIDES(dout)) {                                                                         \
        int head = blockIdx.y;                                                                                                   \
        int64_t first = (static_cast<int64_t>(blockIdx.z) * gridDim.y + head) * queries;                                         \
        backward_q<T, D, Q_WARPS, Q_M, Q_KEYS>(AT(dq, head), AT(q, head), AT(k, head / group), AT(v, head / group),              \
                                               AT(dout, head), lse + first, delta + first, key_lengths, queries, keys,           \
                                               causal_offset, scale, dq_row, q_row, k_row, v_row, dout_row);                     \
    }                                                                                                                            \
    extern "C" __global__ void __launch_bounds__(KV_WARPS * 32)                                                                  \
        attention_backward_kv_d##D##_##T(T* dk, T* dv, const T* q, const T* k, const T* v, const T* dout, const float* lse,      \
                                         const float* delta, const int32_t* key_lengths, int queries, int keys, int group,       \
                                         int causal_offset, float scale, STRIDES(dk), STRIDES(dv), STRIDES(q), STRIDES(k),       \
                                         STRIDES(v), STRIDES(dout)) {                                                            \
        int key_head = blockIdx.y;                                                                                               \
        int head = key_head * group;                                                                                             \
        int64_t first = (static_cast<int64_t>(blockIdx.z) * gridDim.y * group + head) * queries;                                 \
        backward_kv<T, D, KV_WARPS, KV_QUERIES>(AT(dk, key_head), AT(dv, key_head), AT(q, head), AT(k, key_head),                \
                                                AT(v, key_head), AT(dout, head), lse + first, delta + first, key_lengths,        \
                                                queries, keys, group, causal_offset, scale, dk_row, dv_row, q_head, q_row,       \
                                                k_row, v_row, dout_head, dout_row);                                              \
    }

//           forward   backward_q  backward_kv: warps, 16-row blocks a warp, rows of the other side a step
#if !defined(ONLY_D) || ONLY_D == 32
EXPORT(bf16, 32, 4, 2, 64, 4, 2, 32, 4, 64)
EXPORT(f16, 32, 4, 2, 64, 4, 2, 32, 4, 64)
#endif
#if !defined(ONLY_D) || ONLY_D == 64
EXPORT(bf16, 64, 4, 2, 64, 4, 2, 32, 4, 64)
EXPORT(f16, 64, 4, 2, 64, 4, 2, 32, 4, 64)
#endif
#if !defined(ONLY_D) || ONLY_D == 96
EXPORT(bf16, 96, 4, 2, 32, 4, 1, 32, 4, 32)
EXPORT(f16, 96, 4, 2, 32, 4, 1, 32, 4, 32)
#endif
#if !defined(ONLY_D) || ONLY_D == 128
EXPORT(bf16, 128, 4, 2, 32, 4, 1, 32, 4, 32)
EXPORT(f16, 128, 4, 2, 32, 4, 1, 32, 4, 32)
#endif
