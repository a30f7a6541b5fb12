// The norm of many tensors taken as one vector, for clipping gradients by it (Pascanu et al., 2013). Most gradients are far too small
// to fill a GPU: a launch takes up to 128 of them, cut into chunks.
//
//   norm = sqrt(sum over all tensors of x^2)
//
// x: f32, bf16 or f16, elements in any order; squares of a chunk are added up in f32, the chunks in f64, always in the same order.
//
// Launch: global_norm_partials: a block of 256 a chunk of 8192 elements, workspace `partials`: a float a chunk; for tensors of other
// dtypes, and for more than 128, again, behind these partials. Then global_norm: one block of 1024. No dynamic shared memory.
#include "common.cuh"

constexpr int MOST = 128;
constexpr int CHUNK = 8192;

/// Where the tensors are, how large, and the number of the chunk each begins with.
struct Tensors {
    const void* at[MOST];
    int64_t elements[MOST];
    int64_t first[MOST];
};

template <class T, int V> __device__ __forceinline__ float sum_of_squares(const T* x, int count) {
    float sum = 0;
#pragma unroll 4
    for (int i = threadIdx.x * V; i < count; i += blockDim.x * V) {
        Vec<T, V> v = load<V>(x + i);
#pragma unroll
        for (int j = 0; j < V; j++) {
            sum += to_float(v.at[j]) * to_float(v.at[j]);
        }
    }
    return sum;
}

template <class T> __device__ __forceinline__ void partial(float* partials, const Tensors& tensors, int count) {
    constexpr int V = per_16_bytes<T>();
    int64_t chunk = blockIdx.x;
    int low = 0;
    for (int high = count; high - low > 1;) { // the last tensor that begins at the chunk or before
        int middle = (low + high) / 2;
        bool before = tensors.first[middle] <= chunk;
        low = before ? middle : low;
        high = before ? high : middle;
    }
    int64_t start = (chunk - tensors.first[low]) * CHUNK;
    const T* x = static_cast<const T*>(tensors.at[low]) + start;
    int64_t left = tensors.elements[low] - start;
    int length = left < CHUNK ? static_cast<int>(left) : CHUNK;
    float sum = length % V == 0 && aligned_16(x) ? sum_of_squares<T, V>(x, length) : sum_of_squares<T, 1>(x, length);
    sum = reduce_row<Add>(sum);
    if (threadIdx.x == 0) {
        partials[chunk] = sum;
    }
}

// global_norm_partials_T: partials; tensors; how many.
#define EXPORT(T)                                                                                                              \
    extern "C" __global__ void __launch_bounds__(256) global_norm_partials_##T(float* partials, const Tensors tensors, int count) { \
        partial<T>(partials, tensors, count);                                                                                  \
    }

EXPORT(f32)
EXPORT(bf16)
EXPORT(f16)

// norm; partials; how many.
extern "C" __global__ void __launch_bounds__(1024) global_norm_f32(float* norm, const float* partials, int64_t count) {
    __shared__ double sums[1024];
    double sum = 0;
    for (int64_t i = threadIdx.x; i < count; i += blockDim.x) {
        sum += partials[i];
    }
    sums[threadIdx.x] = sum;
    __syncthreads();
    for (int half = blockDim.x / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) {
            sums[threadIdx.x] += sums[threadIdx.x + half];
        }
        __syncthreads();
    }
    if (threadIdx.x == 0) {
        *norm = static_cast<float>(sqrt(sums[0]));
    }
}
