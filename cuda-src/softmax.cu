// Softmax and log-softmax over the last axis, forward and backward: each reads its inputs once and writes its output once.
//
//   y = e^(x - max) / sum e^(x - max)       dx = y (dy - sum dy y)
//   y = x - max - ln sum e^(x - max)        dx = dy - e^y sum dy
//
// x, y, dy, dx: (rows, columns), contiguous; f32, bf16 or f16, arithmetic in f32. Outputs may take the place of inputs.
//
// Launch: block (G, R): G threads, a multiple of 32, share a row; R rows a block; G R <= 1024. Grid ceil(rows / R). No dynamic
// shared memory. A thread keeps 16 (backward) or 32 columns in registers and reads those beyond again: choose G = 32 ceil(columns / 512),
// at most 1024, and R = max(1, 128 / G).
#include "common.cuh"

template <class T, int V, bool LOG>
__device__ __forceinline__ void softmax_forward(T* y, const T* x, int64_t rows, int columns) {
    int64_t row = static_cast<int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
    int mine = row < rows ? columns : 0;
    T* out = y + row * columns;
    RowPart<T, V, V == 1 ? 8 : 32> part(x + row * columns, mine);
    part.fill();

    float max = -infinity();
    part.each([&](int, int, const Vec<T, V>& v) {
        for (int j = 0; j < V; j++) {
            max = fmaxf(max, to_float(v.at[j]));
        }
    });
    max = reduce_row<Max>(max);

    float sum = 0;
    part.each([&](int, int, const Vec<T, V>& v) {
        for (int j = 0; j < V; j++) {
            sum += expf(to_float(v.at[j]) - max);
        }
    });
    sum = reduce_row<Add>(sum);

    float scale = LOG ? logf(sum) : 1 / sum;
    part.each([&](int, int column, const Vec<T, V>& v) {
        Vec<T, V> result;
        for (int j = 0; j < V; j++) {
            float shifted = to_float(v.at[j]) - max;
            result.at[j] = from_float<T>(LOG ? shifted - scale : expf(shifted) * scale);
        }
        store(out + column, result);
    });
}

template <class T, int V, bool LOG>
__device__ __forceinline__ void softmax_backward(T* dx, const T* y, const T* dy, int64_t rows, int columns) {
    int64_t row = static_cast<int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
    int mine = row < rows ? columns : 0;
    T* out = dx + row * columns;
    constexpr int HELD = V == 1 ? 4 : 16;
    RowPart<T, V, HELD> outputs(y + row * columns, mine);
    RowPart<T, V, HELD> gradients(dy + row * columns, mine);
    outputs.fill();
    gradients.fill();

    float sum = 0;
    gradients.each([&](int i, int column, const Vec<T, V>& g) {
        if (LOG) {
            for (int j = 0; j < V; j++) {
                sum += to_float(g.at[j]);
            }
        } else {
            Vec<T, V> v = i >= 0 ? outputs.held[i] : load<V>(outputs.row + column);
            for (int j = 0; j < V; j++) {
                sum += to_float(g.at[j]) * to_float(v.at[j]);
            }
        }
    });
    sum = reduce_row<Add>(sum);

    gradients.each([&](int i, int column, const Vec<T, V>& g) {
        Vec<T, V> v = i >= 0 ? outputs.held[i] : load<V>(outputs.row + column);
        Vec<T, V> result;
        for (int j = 0; j < V; j++) {
            float gradient = to_float(g.at[j]);
            float output = to_float(v.at[j]);
            result.at[j] = from_float<T>(LOG ? gradient - expf(output) * sum : output * (gradient - sum));
        }
        store(out + column, result);
    });
}

// softmax_forward_T, log_softmax_forward_T: y, x (rows, columns).
// softmax_backward_T, log_softmax_backward_T: dx, y (the forward's output), dy (rows, columns).
#define EXPORT(NAME, LOG, T)                                                                                                   \
    extern "C" __global__ void __launch_bounds__(1024) NAME##_forward_##T(T* y, const T* x, int64_t rows, int columns) {       \
        constexpr int V = per_16_bytes<T>();                                                                                   \
        if (columns % V == 0 && aligned_16(y, x)) {                                                                            \
            softmax_forward<T, V, LOG>(y, x, rows, columns);                                                                   \
        } else {                                                                                                               \
            softmax_forward<T, 1, LOG>(y, x, rows, columns);                                                                   \
        }                                                                                                                      \
    }                                                                                                                          \
    extern "C" __global__ void __launch_bounds__(1024) NAME##_backward_##T(T* dx, const T* y, const T* dy, int64_t rows,       \
                                                                           int columns) {                                      \
        constexpr int V = per_16_bytes<T>();                                                                                   \
        if (columns % V == 0 && aligned_16(dx, y, dy)) {                                                                       \
            softmax_backward<T, V, LOG>(dx, y, dy, rows, columns);                                                             \
        } else {                                                                                                               \
            softmax_backward<T, 1, LOG>(dx, y, dy, rows, columns);                                                             \
        }                                                                                                                      \
    }

EXPORT(softmax, false, f32)
EXPORT(softmax, false, bf16)
EXPORT(softmax, false, f16)
EXPORT(log_softmax, true, f32)
EXPORT(log_softmax, true, bf16)
EXPORT(log_softmax, true, f16)
