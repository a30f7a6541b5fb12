// Optimizer steps over all parameters in one launch, and the norm of all gradients: launches, not arithmetic, are what many small
// parameters cost. A parameter is cut into chunks, each a block's work; per-step numbers are read from device memory, so that a
// captured graph can be replayed with new ones.
//
// Adam: Kingma and Ba, 2015; AdamW: Loshchilov and Hutter, 2019; the same formula as dev.heddle.training.AdamUpdate:
//
//   g += l2 p       m = b1 m + (1 - b1) g       v = b2 v + (1 - b2) g^2
//   p = shrink p - step_size m / (sqrt(v) root_correction + eps)
//
// SGD, as dev.heddle.training.SGD (Sutskever et al., 2013): g += l2 p; m = momentum m + g; p -= lr m, or p -= lr (g + momentum m).
// Averages smaller than 1e-30 become 0. Clipping by the norm of all gradients: Pascanu et al., 2013.
//
// Chunk table: device memory, 48 bytes a chunk: five addresses (parameter f32; gradient, of the kernel's dtype; m f32; v f32; copy of
// the parameter), then int32 count and int32 group. All addresses point at the chunk's own first element. The copy is bf16 (f16 in
// the f16 kernels), and null if none is wanted; v is null for SGD, m too if momentum is 0.
// Numbers: device memory, four floats a group: for Adam {lr / (1 - b1^t), 1 / sqrt(1 - b2^t), 1 - lr decay (AdamW) or 1, 0 or decay
// (Adam)}; for SGD {lr, 0, 0, decay}.
//
// Launch: grid: the number of chunks; block 256; no dynamic shared memory. Chunks of 16384 elements, on multiples of 16 bytes where
// possible: others are read element by element. gradient_norm_finish: one block of 1024.
#include "common.cuh"

struct Chunk {
    float* parameter;
    const void* gradient;
    float* m;
    float* v;
    void* copy;
    int32_t count;
    int32_t group;
};

__device__ __forceinline__ float flush(float x) { return fabsf(x) < 1e-30f ? 0 : x; }

/// Calls step.at<4>(i) for four elements at a time from i on, where all addresses allow it, then step.at<1>(i) for what is left.
template <class Step> __device__ __forceinline__ void for_chunk(int count, bool vectors, const Step& step) {
    int fours = vectors ? count & ~3 : 0;
#pragma unroll 2
    for (int i = threadIdx.x * 4; i < fours; i += blockDim.x * 4) {
        step.template at<4>(i);
    }
    for (int i = fours + threadIdx.x; i < count; i += blockDim.x) {
        step.template at<1>(i);
    }
}

template <class G, class C> struct Adam {
    Chunk chunk;
    float step_size, root_correction, shrink, l2;
    float scale; // of gradients
    float keep1, take1, keep2, take2; // beta1, 1 - beta1, beta2, 1 - beta2
    float eps;

    template <int N> __device__ __forceinline__ void at(int i) const {
        auto p = load<N>(chunk.parameter + i);
        auto g = load<N>(static_cast<const G*>(chunk.gradient) + i);
        auto m = load<N>(chunk.m + i);
        auto v = load<N>(chunk.v + i);
        Vec<C, N> rounded;
#pragma unroll
        for (int j = 0; j < N; j++) {
            float slope = to_float(g.at[j]) * scale + l2 * p.at[j];
            m.at[j] = flush(keep1 * m.at[j] + take1 * slope);
            v.at[j] = flush(keep2 * v.at[j] + take2 * slope * slope);
            p.at[j] = shrink * p.at[j] - step_size * m.at[j] / (sqrtf(v.at[j]) * root_correction + eps);
            rounded.at[j] = from_float<C>(p.at[j]);
        }
        store(chunk.parameter + i, p);
        store(chunk.m + i, m);
        store(chunk.v + i, v);
        if (chunk.copy) {
            store(static_cast<C*>(chunk.copy) + i, rounded);
        }
    }
};

template <class G, class C>
__device__ __forceinline__ void adamw(const Chunk* chunks, const float* numbers, const float* factor, double beta1, double beta2,
                                      float eps) {
    Chunk chunk = chunks[blockIdx.x];
    const float* number = numbers + 4 * chunk.group;
    Adam<G, C> step = {chunk, number[0], number[1], number[2], number[3], factor ? *factor : 1,
                       static_cast<float>(beta1), static_cast<float>(1 - beta1),
                       static_cast<float>(beta2), static_cast<float>(1 - beta2), eps};
    for_chunk(chunk.count, aligned_16(chunk.parameter, chunk.gradient, chunk.m, chunk.v, chunk.copy), step);
}

template <class G, class C> struct Sgd {
    Chunk chunk;
    float lr, l2;
    float scale; // of gradients
    float momentum;
    bool nesterov;

    template <int N> __device__ __forceinline__ void at(int i) const {
        auto p = load<N>(chunk.parameter + i);
        auto g = load<N>(static_cast<const G*>(chunk.gradient) + i);
        Vec<float, N> m;
        if (chunk.m) {
            m = load<N>(chunk.m + i);
        }
        Vec<C, N> rounded;
#pragma unroll
        for (int j = 0; j < N; j++) {
            float slope = to_float(g.at[j]) * scale + l2 * p.at[j];
            float along = slope;
            if (chunk.m) {
                m.at[j] = flush(momentum * m.at[j] + slope);
                along = nesterov ? slope + momentum * m.at[j] : m.at[j];
            }
            p.at[j] -= lr * along;
            rounded.at[j] = from_float<C>(p.at[j]);
        }
        store(chunk.parameter + i, p);
        if (chunk.m) {
            store(chunk.m + i, m);
        }
        if (chunk.copy) {
            store(static_cast<C*>(chunk.copy) + i, rounded);
        }
    }
};

template <class G, class C>
__device__ __forceinline__ void sgd(const Chunk* chunks, const float* numbers, const float* factor, float momentum, int nesterov) {
    Chunk chunk = chunks[blockIdx.x];
    const float* number = numbers + 4 * chunk.group;
    Sgd<G, C> step = {chunk, number[0], number[3], factor ? *factor : 1, momentum, nesterov != 0};
    for_chunk(chunk.count, aligned_16(chunk.parameter, chunk.gradient, chunk.m, chunk.copy), step);
}

template <class G> struct Squares {
    const G* gradient;
    float* sum;

    template <int N> __device__ __forceinline__ void at(int i) const {
        auto g = load<N>(gradient + i);
#pragma unroll
        for (int j = 0; j < N; j++) {
            float x = to_float(g.at[j]);
            *sum += x * x;
        }
    }
};

template <class G> __device__ __forceinline__ void norm_partials(float* partials, const Chunk* chunks) {
    float sum = 0;
    Squares<G> step = {static_cast<const G*>(chunks[blockIdx.x].gradient), &sum};
    for_chunk(chunks[blockIdx.x].count, aligned_16(step.gradient), step);
    sum = reduce_row<Add>(sum);
    if (threadIdx.x == 0) {
        partials[blockIdx.x] = sum;
    }
}

// adamw_T: chunks; numbers; factor: address of what gradients are multiplied by, or null; beta1, beta2 (double); eps.
// sgd_T: chunks; numbers; factor or null; momentum; nesterov: 0 or 1.
// gradient_norm_partials_T: partials, a float a chunk: sum of squares of its gradient; chunks. T is the gradients' dtype.
#define EXPORT(T, COPY)                                                                                                        \
    extern "C" __global__ void __launch_bounds__(256) adamw_##T(const Chunk* chunks, const float* numbers, const float* factor, \
                                                                double beta1, double beta2, float eps) {                       \
        adamw<T, COPY>(chunks, numbers, factor, beta1, beta2, eps);                                                            \
    }                                                                                                                          \
    extern "C" __global__ void __launch_bounds__(256) sgd_##T(const Chunk* chunks, const float* numbers, const float* factor,  \
                                                              float momentum, int nesterov) {                                  \
        sgd<T, COPY>(chunks, numbers, factor, momentum, nesterov);                                                             \
    }                                                                                                                          \
    extern "C" __global__ void __launch_bounds__(256) gradient_norm_partials_##T(float* partials, const Chunk* chunks) {       \
        norm_partials<T>(partials, chunks);                                                                                    \
    }

EXPORT(f32, bf16)
EXPORT(bf16, bf16)
EXPORT(f16, f16)

// norm: the root of the sum of all partials; factor: min(1, max_norm / (norm + 1e-6)); partials; how many; max_norm.
extern "C" __global__ void __launch_bounds__(1024)
    gradient_norm_finish(float* norm, float* factor, const float* partials, int count, float max_norm) {
    __shared__ double sums[1024];
    double sum = 0;
    for (int i = threadIdx.x; i < count; i += blockDim.x) {
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
        float root = static_cast<float>(sqrt(sums[0]));
        *norm = root;
        *factor = fminf(1, max_norm / (root + 1e-6f));
    }
}
