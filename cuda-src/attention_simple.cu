// Attention without tensor cores, for f32 and for head dimensions that attention.cu has no kernel for: any up to 256, in f32, bf16 and
// f16, arithmetic in f32. It never stores the matrix of scores either, but works on one row a warp: correct first, fast never.
// attention_delta here serves both files. Formulas, masks, shapes and strides are those of attention.cu; alignment does not matter.
//
// Launch: block (32, 4). forward, backward_q and delta: grid (ceil(queries / 4), heads, batch); backward_kv: grid (ceil(keys / 4),
// heads / group, batch). Dynamic shared memory: forward 16 dim bytes, backward_q and backward_kv 32 dim, delta none.
#include "common.cuh"

constexpr int SLICES = 8; // columns of a lane: lane, lane + 32 ... below the head dimension

__device__ __forceinline__ int visible(int query, int causal_offset, int keys) { return min(keys, query + causal_offset + 1); }

__device__ __forceinline__ int length(const int32_t* key_lengths, int keys) {
    return key_lengths ? min(keys, max(0, key_lengths[blockIdx.z])) : keys;
}

/// Row of a matrix as floats into shared memory, by one warp.
template <class T> __device__ __forceinline__ void to_shared(float* shared, const T* row, int dim) {
    for (int d = threadIdx.x; d < dim; d += WARP) {
        shared[d] = to_float(row[d]);
    }
}

template <class T> __device__ __forceinline__ float dot(const float* a, const T* b, int dim) {
    float sum = 0;
    for (int d = 0; d < dim; d++) {
        sum += a[d] * to_float(b[d]);
    }
    return sum;
}

/// to += w row, in slices.
template <class T> __device__ __forceinline__ void add_row(float (&to)[SLICES], float w, const T* row, int dim) {
#pragma unroll
    for (int c = 0; c < SLICES; c++) {
        int d = threadIdx.x + c * WARP;
        if (d < dim) {
            to[c] += w * to_float(row[d]);
        }
    }
}

template <class T> __device__ __forceinline__ void store_row(T* row, const float (&from)[SLICES], float by, int dim) {
#pragma unroll
    for (int c = 0; c < SLICES; c++) {
        int d = threadIdx.x + c * WARP;
        if (d < dim) {
            row[d] = from_float<T>(from[c] * by);
        }
    }
}

/// e^(s - lse), 0 for a query that sees nothing.
__device__ __forceinline__ float weight(float s, float lse) { return lse == -infinity() ? 0 : expf(s - lse); }

template <class T>
__device__ __forceinline__ void forward(T* out, float* lse, const T* q, const T* k, const T* v, const int32_t* key_lengths, int queries,
                                        int keys, int dim, int causal_offset, float scale, int64_t out_row, int64_t q_row, int64_t k_row,
                                        int64_t v_row) {
    DYNAMIC_SHARED(unsigned char, shared);
    float* mine = reinterpret_cast<float*>(shared) + threadIdx.y * dim;
    int query = blockIdx.x * blockDim.y + threadIdx.y;
    if (query >= queries) {
        return;
    }
    to_shared(mine, q + query * q_row, dim);
    __syncwarp();
    int end = visible(query, causal_offset, length(key_lengths, keys));
    float o[SLICES] = {};
    float maximum = -infinity();
    float sum = 0;
    for (int first = 0; first < end; first += WARP) {
        int key = first + threadIdx.x;
        float s = key < end ? dot(mine, k + key * k_row, dim) * scale : -infinity();
        float now = fmaxf(maximum, reduce_warp<Max>(s));
        float base = now == -infinity() ? 0 : now;
        float shrink = expf(maximum - base);
        float p = expf(s - base);
        sum = sum * shrink + reduce_warp<Add>(p);
        for (int c = 0; c < SLICES; c++) {
            o[c] *= shrink;
        }
        for (int i = 0; i < WARP && first + i < end; i++) {
            add_row(o, __shfl_sync(ALL_LANES, p, i), v + (first + i) * v_row, dim);
        }
        maximum = now;
    }
    store_row(out + query * out_row, o, sum == 0 ? 0 : 1 / sum, dim);
    if (lse && threadIdx.x == 0) {
        lse[query] = sum == 0 ? -infinity() : maximum + logf(sum);
    }
}

template <class T>
__device__ __forceinline__ void row_delta(float* delta, const T* out, const T* dout, int queries, int dim, int64_t out_row,
                                          int64_t dout_row) {
    int query = blockIdx.x * blockDim.y + threadIdx.y;
    if (query >= queries) {
        return;
    }
    float sum = 0;
    for (int d = threadIdx.x; d < dim; d += WARP) {
        sum += to_float(out[query * out_row + d]) * to_float(dout[query * dout_row + d]);
    }
    sum = reduce_warp<Add>(sum);
    if (threadIdx.x == 0) {
        delta[query] = sum;
    }
}

template <class T>
__device__ __forceinline__ void backward_q(T* dq, const T* q, const T* k, const T* v, const T* dout, const float* lse, const float* delta,
                                           const int32_t* key_lengths, int queries, int keys, int dim, int causal_offset, float scale,
                                           int64_t dq_row, int64_t q_row, int64_t k_row, int64_t v_row, int64_t dout_row) {
    DYNAMIC_SHARED(unsigned char, shared);
    float* my_q = reinterpret_cast<float*>(shared) + threadIdx.y * 2 * dim;
    float* my_dout = my_q + dim;
    int query = blockIdx.x * blockDim.y + threadIdx.y;
    if (query >= queries) {
        return;
    }
    to_shared(my_q, q + query * q_row, dim);
    to_shared(my_dout, dout + query * dout_row, dim);
    __syncwarp();
    int end = visible(query, causal_offset, length(key_lengths, keys));
    float gradient[SLICES] = {};
    for (int first = 0; first < end; first += WARP) {
        int key = first + threadIdx.x;
        float ds = 0;
        if (key < end) {
            float p = weight(dot(my_q, k + key * k_row, dim) * scale, lse[query]);
            ds = p * (dot(my_dout, v + key * v_row, dim) - delta[query]);
        }
        for (int i = 0; i < WARP && first + i < end; i++) {
            add_row(gradient, __shfl_sync(ALL_LANES, ds, i), k + (first + i) * k_row, dim);
        }
    }
    store_row(dq + query * dq_row, gradient, scale, dim);
}

template <class T>
__device__ __forceinline__ void backward_kv(T* dk, T* dv, const T* q, const T* k, const T* v, const T* dout, const float* lse,
                                            const float* delta, const int32_t* key_lengths, int queries, int keys, int group, int dim,
                                            int causal_offset, float scale, int64_t dk_row, int64_t dv_row, int64_t q_head, int64_t q_row,
                                            int64_t k_row, int64_t v_row, int64_t dout_head, int64_t dout_row) {
    DYNAMIC_SHARED(unsigned char, shared);
    float* my_k = reinterpret_cast<float*>(shared) + threadIdx.y * 2 * dim;
    float* my_v = my_k + dim;
    int key = blockIdx.x * blockDim.y + threadIdx.y;
    if (key >= keys) {
        return;
    }
    to_shared(my_k, k + key * k_row, dim);
    to_shared(my_v, v + key * v_row, dim);
    __syncwarp();
    int begin = key < length(key_lengths, keys) ? max(0, key - causal_offset) : queries; // the first query that sees this key
    float key_gradient[SLICES] = {};
    float value_gradient[SLICES] = {};
    for (int head = 0; head < group; head++) {
        for (int first = begin; first < queries; first += WARP) {
            int query = first + threadIdx.x;
            float p = 0;
            float ds = 0;
            if (query < queries) {
                int64_t at = static_cast<int64_t>(head) * queries + query;
                p = weight(dot(my_k, q + head * q_head + query * q_row, dim) * scale, lse[at]);
                ds = p * (dot(my_v, dout + head * dout_head + query * dout_row, dim) - delta[at]);
            }
            for (int i = 0; i < WARP && first + i < queries; i++) {
                add_row(value_gradient, __shfl_sync(ALL_LANES, p, i), dout + head * dout_head + (first + i) * dout_row, dim);
                add_row(key_gradient, __shfl_sync(ALL_LANES, ds, i), q + head * q_head + (first + i) * q_row, dim);
            }
        }
    }
    store_row(dk + key * dk_row, key_gradient, scale, dim);
    store_row(dv + key * dv_row, value_gradient, 1, dim);
}

// attention_simple_forward_T, attention_simple_backward_q_T, attention_simple_backward_kv_T: the arguments of attention.cu's kernels,
//   with dim, the head dimension, after group.
// attention_delta_T: delta; out; dout; queries; dim; strides (batch, head, row) of out, dout.
#define STRIDES(NAME) int64_t NAME##_batch, int64_t NAME##_head, int64_t NAME##_row
#define AT(NAME, HEAD) NAME + blockIdx.z * NAME##_batch + (HEAD) * NAME##_head

#define EXPORT(T)                                                                                                                \
    extern "C" __global__ void __launch_bounds__(128, 4)                                                                         \
        attention_simple_forward_##T(T* out, float* lse, const T* q, const T* k, const T* v, const int32_t* key_lengths,         \
                                     int queries, int keys, int group, int dim, int causal_offset, float scale, STRIDES(out),    \
                                     STRIDES(q), STRIDES(k), STRIDES(v)) {                                                       \
        int head = blockIdx.y;                                                                                                   \
        int64_t first = (static_cast<int64_t>(blockIdx.z) * gridDim.y + head) * queries;                                         \
        forward<T>(AT(out, head), lse ? lse + first : lse, AT(q, head), AT(k, head / group), AT(v, head / group), key_lengths,   \
                   queries, keys, dim, causal_offset, scale, out_row, q_row, k_row, v_row);                                      \
    }                                                                                                                            \
    extern "C" __global__ void __launch_bounds__(128, 4)                                                                         \
        attention_delta_##T(float* delta, const T* out, const T* dout, int queries, int dim, STRIDES(out), STRIDES(dout)) {      \
        int head = blockIdx.y;                                                                                                   \
        int64_t first = (static_cast<int64_t>(blockIdx.z) * gridDim.y + head) * queries;                                         \
        row_delta<T>(delta + first, AT(out, head), AT(dout, head), queries, dim, out_row, dout_row);                             \
    }                                                                                                                            \
    extern "C" __global__ void __launch_bounds__(128, 4)                                                                         \
        attention_simple_backward_q_##T(T* dq, const T* q, const T* k, const T* v, const T* dout, const float* lse,              \
                                        const float* delta, const int32_t* key_lengths, int queries, int keys, int group,        \
                                        int dim, int causal_offset, float scale, STRIDES(dq), STRIDES(q), STRIDES(k),            \
                                        STRIDES(v), STRIDES(dout)) {                                                             \
        int head = blockIdx.y;                                                                                                   \
        int64_t first = (static_cast<int64_t>(blockIdx.z) * gridDim.y + head) * queries;                                         \
        backward_q<T>(AT(dq, head), AT(q, head), AT(k, head / group), AT(v, head / group), AT(dout, head), lse + first,          \
                      delta + first, key_lengths, queries, keys, dim, causal_offset, scale, dq_row, q_row, k_row, v_row,         \
                      dout_row);                                                                                                 \
    }                                                                                                                            \
    extern "C" __global__ void __launch_bounds__(128, 4)                                                                         \
        attention_simple_backward_kv_##T(T* dk, T* dv, const T* q, const T* k, const T* v, const T* dout, const float* lse,      \
                                         const float* delta, const int32_t* key_lengths, int queries, int keys, int group,       \
                                         int dim, int causal_offset, float scale, STRIDES(dk), STRIDES(dv), STRIDES(q),          \
                                         STRIDES(k), STRIDES(v), STRIDES(dout)) {                                                \
        int key_head = blockIdx.y;                                                                                               \
        int head = key_head * group;                                                                                             \
        int64_t first = (static_cast<int64_t>(blockIdx.z) * gridDim.y * group + head) * queries;                                 \
        backward_kv<T>(AT(dk, key_head), AT(dv, key_head), AT(q, head), AT(k, key_head), AT(v, key_head), AT(dout, head),        \
                       lse + first, delta + first, key_lengths, queries, keys, group, dim, causal_offset, scale, dk_row, dv_row, \
                       q_head, q_row, k_row, v_row, dout_head, dout_row);                                                        \
    }

EXPORT(f32)
EXPORT(bf16)
EXPORT(f16)
