// Activations together with the bias before them, gated units, and dropout, forward and backward: one reading of each input, one
// writing of each output, and the gradient of the bias from the same pass.
//
//   y = f(x + bias)          dx = dy f'(x + bias)          dbias = sum over rows of dx
//
//   relu   max(x, 0), with f'(0) = 0
//   silu   x sigmoid(x)
//   gelu   x/2 (1 + erf(x / sqrt 2))                                 Hendrycks and Gimpel, 2016
//   gelu_tanh   x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))        the same, as in GPT-2
//   swiglu   y = silu(gate) up                                       Shazeer, 2020
//   dropout  y = x scale where u >= p, else 0; u uniform in [0, 1)   Srivastava et al., 2014
//
// x, y, dx, dy: (rows, columns); bias, dbias: (columns); f32, bf16 or f16; arithmetic in f32. Formulas as in
// dev.heddle.engine.Activations; u as dev.heddle.engine.op.Random's UNIFORM, so the CPU drops the same elements. Outputs may take
// the place of inputs of the same shape.
//
// Launch, bias_*: block (32, 8), grid (ceil(columns / 256), P), any first dimension works; P is the number of row blocks, such that
// the grid has about 8 blocks a multiprocessor, at most ceil(rows / 8). No dynamic shared memory. Backward: workspace `partials`:
// float (P, columns); then bias_backward_parameters: block (32, 8), grid ceil(columns / 32).
// Launch, swiglu: the same block and grid. Launch, dropout: block 256, any grid; 8 blocks a multiprocessor are enough.
#include "common.cuh"

constexpr int ROWS = 8; // blockDim.y of the kernels by column

struct Relu {
    static __device__ __forceinline__ float value(float x) { return fmaxf(x, 0); }
    static __device__ __forceinline__ float slope(float x) { return x > 0 ? 1 : 0; }
};

struct Silu {
    static __device__ __forceinline__ float sigmoid(float x) { return 1 / (1 + expf(-x)); }
    static __device__ __forceinline__ float value(float x) { return x * sigmoid(x); }
    static __device__ __forceinline__ float slope(float x) {
        float s = sigmoid(x);
        return s * (1 + x * (1 - s));
    }
};

struct Gelu {
    static __device__ __forceinline__ float value(float x) { return 0.5f * x * (1 + erff(x * 0.70710678f)); }
    static __device__ __forceinline__ float slope(float x) {
        float density = 0.39894228f * expf(-0.5f * x * x);
        return 0.5f * (1 + erff(x * 0.70710678f)) + x * density;
    }
};

struct GeluTanh {
    static __device__ __forceinline__ float inner(float x) { return 0.79788456f * (x + 0.044715f * x * x * x); }
    static __device__ __forceinline__ float value(float x) { return 0.5f * x * (1 + tanhf(inner(x))); }
    static __device__ __forceinline__ float slope(float x) {
        float t = tanhf(inner(x));
        return 0.5f * (1 + t) + 0.5f * x * (1 - t * t) * 0.79788456f * (1 + 3 * 0.044715f * x * x);
    }
};

/// Calls body(first column) for each V columns of this lane.
template <int V, class Body> __device__ __forceinline__ void for_columns(int columns, Body body) {
    for (int column = (blockIdx.x * WARP + threadIdx.x) * V; column < columns; column += gridDim.x * WARP * V) {
        body(column);
    }
}

template <class T, int V> __device__ __forceinline__ void load_bias(float (&b)[V], const T* bias, int column) {
    for (int j = 0; j < V; j++) {
        b[j] = bias ? to_float(bias[column + j]) : 0;
    }
}

template <class F, class T, int V>
__device__ __forceinline__ void bias_forward(T* y, const T* x, const T* __restrict__ bias, int64_t rows, int columns) {
    for_columns<V>(columns, [&](int column) {
        float b[V];
        load_bias<T, V>(b, bias, column);
#pragma unroll 4
        for (int64_t row = blockIdx.y * ROWS + threadIdx.y; row < rows; row += gridDim.y * ROWS) {
            Vec<T, V> v = load<V>(x + row * columns + column);
            for (int j = 0; j < V; j++) {
                v.at[j] = from_float<T>(F::value(to_float(v.at[j]) + b[j]));
            }
            store(y + row * columns + column, v);
        }
    });
}

template <class F, class T, int V>
__device__ __forceinline__ void bias_backward(T* dx, float* partials, const T* x, const T* __restrict__ bias, const T* dy, int64_t rows,
                                              int columns) {
    __shared__ float of_row[ROWS][WARP * V];
    int rounds = (columns + gridDim.x * WARP * V - 1) / (gridDim.x * WARP * V); // the same for every thread, for the barriers
    for (int round = 0; round < rounds; round++) {
        int column = ((round * gridDim.x + blockIdx.x) * WARP + threadIdx.x) * V;
        float sum[V] = {};
        if (column < columns) {
            float b[V];
            load_bias<T, V>(b, bias, column);
#pragma unroll 2
            for (int64_t row = blockIdx.y * ROWS + threadIdx.y; row < rows; row += gridDim.y * ROWS) {
                Vec<T, V> v = load<V>(x + row * columns + column);
                Vec<T, V> d = load<V>(dy + row * columns + column);
                for (int j = 0; j < V; j++) {
                    float gradient = to_float(d.at[j]) * F::slope(to_float(v.at[j]) + b[j]);
                    sum[j] += gradient;
                    v.at[j] = from_float<T>(gradient);
                }
                store(dx + row * columns + column, v);
            }
        }
        if (!partials) {
            continue;
        }
        for (int j = 0; j < V; j++) {
            of_row[threadIdx.y][j * WARP + threadIdx.x] = sum[j];
        }
        __syncthreads();
        if (threadIdx.y == 0 && column < columns) {
            for (int j = 0; j < V; j++) {
                for (int y = 1; y < ROWS; y++) {
                    sum[j] += of_row[y][j * WARP + threadIdx.x];
                }
                partials[static_cast<int64_t>(blockIdx.y) * columns + column + j] = sum[j];
            }
        }
        __syncthreads();
    }
}

template <class T, int V>
__device__ __forceinline__ void swiglu_forward(T* y, const T* gate, const T* up, int64_t rows, int columns, int64_t stride) {
    for_columns<V>(columns, [&](int column) {
#pragma unroll 2
        for (int64_t row = blockIdx.y * ROWS + threadIdx.y; row < rows; row += gridDim.y * ROWS) {
            Vec<T, V> g = load<V>(gate + row * stride + column);
            Vec<T, V> u = load<V>(up + row * stride + column);
            for (int j = 0; j < V; j++) {
                u.at[j] = from_float<T>(Silu::value(to_float(g.at[j])) * to_float(u.at[j]));
            }
            store(y + row * columns + column, u);
        }
    });
}

template <class T, int V>
__device__ __forceinline__ void swiglu_backward(T* dgate, T* dup, const T* gate, const T* up, const T* dy, int64_t rows, int columns,
                                                int64_t stride) {
    for_columns<V>(columns, [&](int column) {
#pragma unroll 2
        for (int64_t row = blockIdx.y * ROWS + threadIdx.y; row < rows; row += gridDim.y * ROWS) {
            Vec<T, V> g = load<V>(gate + row * stride + column);
            Vec<T, V> u = load<V>(up + row * stride + column);
            Vec<T, V> d = load<V>(dy + row * columns + column);
            for (int j = 0; j < V; j++) {
                float x = to_float(g.at[j]);
                float gradient = to_float(d.at[j]);
                g.at[j] = from_float<T>(gradient * to_float(u.at[j]) * Silu::slope(x));
                u.at[j] = from_float<T>(gradient * Silu::value(x));
            }
            store(dgate + row * stride + column, g);
            store(dup + row * stride + column, u);
        }
    });
}

/// Vectors of 8 elements, two Philox blocks, or single elements.
template <class T, int V>
__device__ __forceinline__ void dropout(T* y, const T* x, int64_t count, const int64_t* seed, const int64_t* offset, float p, float scale) {
    int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x * 8;
    for (int64_t i = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * 8; i < count; i += step) {
#pragma unroll
        for (int half = 0; half < 8; half += 4) {
            uint32_t words[4];
            philox(words, *seed, *offset + (i + half) / 4);
#pragma unroll
            for (int k = 0; k < 4; k += V) {
                int64_t at = i + half + k;
                if (at >= count) {
                    return;
                }
                Vec<T, V> v = load<V>(x + at);
#pragma unroll
                for (int j = 0; j < V; j++) {
                    v.at[j] = from_float<T>(uniform(words[k + j]) >= p ? to_float(v.at[j]) * scale : 0);
                }
                store(y + at, v);
            }
        }
    }
}

// bias_F_forward_T: y; x; bias or null; rows; columns.
// bias_F_backward_T: dx; partials, or null if dbias is not wanted; x, before the bias; bias or null; dy; rows; columns.
// bias_backward_parameters_T: dbias; partials; P; columns.
// swiglu_forward_T: y (rows, columns), contiguous; gate; up; rows; columns; stride: elements between rows of gate and of up, which may
//   be halves of one tensor.
// swiglu_backward_T: dgate; dup, both with the stride; gate; up; dy, contiguous; rows; columns; stride.
// dropout_T: y; x; count; seed and offset, each the address of an int64; p; scale, usually 1 / (1 - p). The backward is the same on dy.
#define EXPORT_BIAS(NAME, F, T)                                                                                                \
    extern "C" __global__ void __launch_bounds__(256) NAME##_forward_##T(T* y, const T* x, const T* bias, int64_t rows, int columns) { \
        constexpr int V = per_16_bytes<T>();                                                                                   \
        if (columns % V == 0 && aligned_16(y, x)) {                                                                            \
            bias_forward<F, T, V>(y, x, bias, rows, columns);                                                                  \
        } else {                                                                                                               \
            bias_forward<F, T, 1>(y, x, bias, rows, columns);                                                                  \
        }                                                                                                                      \
    }                                                                                                                          \
    extern "C" __global__ void __launch_bounds__(256) NAME##_backward_##T(T* dx, float* partials, const T* x, const T* bias,   \
                                                                          const T* dy, int64_t rows, int columns) {            \
        constexpr int V = per_16_bytes<T>();                                                                                   \
        if (columns % V == 0 && aligned_16(dx, x, dy)) {                                                                       \
            bias_backward<F, T, V>(dx, partials, x, bias, dy, rows, columns);                                                  \
        } else {                                                                                                               \
            bias_backward<F, T, 1>(dx, partials, x, bias, dy, rows, columns);                                                  \
        }                                                                                                                      \
    }

#define EXPORT(T)                                                                                                              \
    EXPORT_BIAS(bias_relu, Relu, T)                                                                                            \
    EXPORT_BIAS(bias_silu, Silu, T)                                                                                            \
    EXPORT_BIAS(bias_gelu, Gelu, T)                                                                                            \
    EXPORT_BIAS(bias_gelu_tanh, GeluTanh, T)                                                                                   \
    extern "C" __global__ void __launch_bounds__(256)                                                                          \
        bias_backward_parameters_##T(T* dbias, const float* partials, int parts, int columns) {                                \
        sum_partials(partials, parts, columns, [=](int column, float sum) { dbias[column] = from_float<T>(sum); });            \
    }                                                                                                                          \
    extern "C" __global__ void __launch_bounds__(256)                                                                          \
        swiglu_forward_##T(T* y, const T* gate, const T* up, int64_t rows, int columns, int64_t stride) {                      \
        constexpr int V = per_16_bytes<T>();                                                                                   \
        if (columns % V == 0 && stride % V == 0 && aligned_16(y, gate, up)) {                                                  \
            swiglu_forward<T, V>(y, gate, up, rows, columns, stride);                                                          \
        } else {                                                                                                               \
            swiglu_forward<T, 1>(y, gate, up, rows, columns, stride);                                                          \
        }                                                                                                                      \
    }                                                                                                                          \
    extern "C" __global__ void __launch_bounds__(256)                                                                          \
        swiglu_backward_##T(T* dgate, T* dup, const T* gate, const T* up, const T* dy, int64_t rows, int columns, int64_t stride) { \
        constexpr int V = per_16_bytes<T>();                                                                                   \
        if (columns % V == 0 && stride % V == 0 && aligned_16(dgate, dup, gate, up, dy)) {                                     \
            swiglu_backward<T, V>(dgate, dup, gate, up, dy, rows, columns, stride);                                            \
        } else {                                                                                                               \
            swiglu_backward<T, 1>(dgate, dup, gate, up, dy, rows, columns, stride);                                            \
        }                                                                                                                      \
    }                                                                                                                          \
    extern "C" __global__ void __launch_bounds__(256)                                                                          \
        dropout_##T(T* y, const T* x, int64_t count, const int64_t* seed, const int64_t* offset, float p, float scale) {       \
        if (count % 4 == 0 && aligned_16(y, x)) {                                                                              \
            dropout<T, 4>(y, x, count, seed, offset, p, scale);                                                                \
        } else {                                                                                                               \
            dropout<T, 1>(y, x, count, seed, offset, p, scale);                                                                \
        }                                                                                                                      \
    }

EXPORT(f32)
EXPORT(bf16)
EXPORT(f16)
