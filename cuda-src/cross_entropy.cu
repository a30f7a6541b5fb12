// Softmax cross-entropy: loss and gradient from the logits directly; probabilities are never stored. Training can have both from one
// reading of the logits, the largest tensor of a language model.
//
//   logp = x - max - ln sum e^(x - max)                              (N, C)
//   loss = -(1 - s) logp[label] - s mean(logp)                       label smoothing s: Szegedy et al., 2016
//   dx   = (e^logp - (1 - s) onehot(label) - s / C) dloss
//
// Where label is ignore_index, loss and dx are 0. Any other label outside [0, C) makes its loss NaN and is reported in `error`, two
// int64: the first becomes 1, the second the label; error may be null.
// logits, dlogits: (N, C), f32, bf16 or f16; loss, dloss: (N), f32; labels: int64 (N); arithmetic in f32.
// dlogits may take the place of logits. Defined as dev.heddle.engine.fused.CrossEntropy.
//
// Launch: as softmax.cu: block (G, R), G a multiple of 32, G R <= 1024; grid ceil(N / R); no dynamic shared memory; choose
// G = 32 ceil(C / 768), at most 1024, and R = max(1, 128 / G).
#include "common.cuh"

template <class T, int V, bool LOSS, bool GRADIENT>
__device__ __forceinline__ void cross_entropy(float* loss, T* dlogits, const T* logits, const int64_t* labels, const float* dloss,
                                              int64_t rows, int columns, int64_t ignore_index, float smoothing, int64_t* error) {
    int64_t row = static_cast<int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
    bool live = row < rows;
    int64_t label = live ? labels[row] : ignore_index;
    bool ignored = label == ignore_index;
    bool inside = !ignored && label >= 0 && label < columns;
    const T* x = logits + row * columns;
    if (error && !ignored && !inside && threadIdx.x == 0) {
        error[0] = 1;
        error[1] = label;
    }
    float at_label = LOSS && inside ? to_float(x[label]) : 0;
    __syncwarp(); // read before another lane's dlogits takes its place; other warps wait in the reductions

    RowPart<T, V, V == 1 ? 8 : 24> part(x, live && !ignored ? columns : 0);
    part.fill();
    float max = -infinity();
    part.each([&](int, int, const Vec<T, V>& v) {
        for (int j = 0; j < V; j++) {
            max = fmaxf(max, to_float(v.at[j]));
        }
    });
    max = reduce_row<Max>(max);

    float sums[2] = {0, 0}; // of e^(x - max), of x - max
    part.each([&](int, int, const Vec<T, V>& v) {
        for (int j = 0; j < V; j++) {
            float shifted = to_float(v.at[j]) - max;
            sums[0] += expf(shifted);
            sums[1] += shifted;
        }
    });
    reduce_row<Add>(sums);

    if (LOSS && live && threadIdx.x == 0) {
        float log_sum = logf(sums[0]);
        float value = log_sum - (at_label - max);
        if (smoothing > 0) {
            value = value * (1 - smoothing) + (log_sum - sums[1] / columns) * smoothing;
        }
        loss[row] = ignored ? 0 : inside ? value : not_a_number();
    }

    if (GRADIENT && live) {
        T* out = dlogits + row * columns;
        if (ignored) {
            Vec<T, V> zeros = {};
            for (int column = threadIdx.x * V; column < columns; column += blockDim.x * V) {
                store(out + column, zeros);
            }
            return;
        }
        float scale = dloss[row];
        float norm = 1 / sums[0];
        float floor = smoothing / columns;
        part.each([&](int, int column, const Vec<T, V>& v) {
            Vec<T, V> result;
            for (int j = 0; j < V; j++) {
                float target = column + j == label ? 1 - smoothing + floor : floor;
                result.at[j] = from_float<T>((expf(to_float(v.at[j]) - max) * norm - target) * scale);
            }
            store(out + column, result);
        });
    }
}

// cross_entropy_forward_T: loss (N), logits (N, C), labels (N), N, C, ignore_index, smoothing in [0, 1), error.
// cross_entropy_backward_T: dlogits (N, C), logits, labels, dloss (N), N, C, ignore_index, smoothing, error.
// cross_entropy_forward_backward_T: loss, dlogits, logits, labels, dloss, N, C, ignore_index, smoothing, error: both in one pass, for a
//   dloss known beforehand, such as 1 / N.
#define EXPORT(T)                                                                                                              \
    extern "C" __global__ void __launch_bounds__(1024)                                                                         \
        cross_entropy_forward_##T(float* loss, const T* logits, const int64_t* labels, int64_t rows, int columns,              \
                                  int64_t ignore_index, float smoothing, int64_t* error) {                                     \
        constexpr int V = per_16_bytes<T>();                                                                                   \
        if (columns % V == 0 && aligned_16(logits)) {                                                                          \
            cross_entropy<T, V, true, false>(loss, nullptr, logits, labels, nullptr, rows, columns, ignore_index, smoothing, error); \
        } else {                                                                                                               \
            cross_entropy<T, 1, true, false>(loss, nullptr, logits, labels, nullptr, rows, columns, ignore_index, smoothing, error); \
        }                                                                                                                      \
    }                                                                                                                          \
    extern "C" __global__ void __launch_bounds__(1024)                                                                         \
        cross_entropy_backward_##T(T* dlogits, const T* logits, const int64_t* labels, const float* dloss, int64_t rows,       \
                                   int columns, int64_t ignore_index, float smoothing, int64_t* error) {                       \
        constexpr int V = per_16_bytes<T>();                                                                                   \
        if (columns % V == 0 && aligned_16(logits, dlogits)) {                                                                 \
            cross_entropy<T, V, false, true>(nullptr, dlogits, logits, labels, dloss, rows, columns, ignore_index, smoothing, error); \
        } else {                                                                                                               \
            cross_entropy<T, 1, false, true>(nullptr, dlogits, logits, labels, dloss, rows, columns, ignore_index, smoothing, error); \
        }                                                                                                                      \
    }                                                                                                                          \
    extern "C" __global__ void __launch_bounds__(1024)                                                                         \
        cross_entropy_forward_backward_##T(float* loss, T* dlogits, const T* logits, const int64_t* labels, const float* dloss, \
                                           int64_t rows, int columns, int64_t ignore_index, float smoothing, int64_t* error) { \
        constexpr int V = per_16_bytes<T>();                                                                                   \
        if (columns % V == 0 && aligned_16(logits, dlogits)) {                                                                 \
            cross_entropy<T, V, true, true>(loss, dlogits, logits, labels, dloss, rows, columns, ignore_index, smoothing, error); \
        } else {                                                                                                               \
            cross_entropy<T, 1, true, true>(loss, dlogits, logits, labels, dloss, rows, columns, ignore_index, smoothing, error); \
        }                                                                                                                      \
    }

EXPORT(f32)
EXPORT(bf16)
EXPORT(f16)
