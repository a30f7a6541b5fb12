// Layer norm and RMS norm over the last axis, forward and backward, alone or with the residual addition before them: each reads its
// inputs once and writes its outputs once.
//
//   y = (x - mean) rstd weight + bias       rstd = 1 / sqrt(var(x) + eps)         layer norm: Ba et al., 2016
//   y = x rstd weight                       rstd = 1 / sqrt(mean(x^2) + eps)      RMS norm: Zhang and Sennrich, 2019
//
// With n = (x - mean) rstd (mean 0 for RMS norm) and g = dy weight, means over the row:
//
//   dx = (g - mean(g) - n mean(g n)) rstd   (without mean(g) for RMS norm)
//   dweight = sum over rows of dy n         dbias = sum over rows of dy
//
// x, residual, sum, y and gradients: (rows, columns); weight, bias: (columns); all of one dtype, f32, bf16 or f16; mean, rstd:
// (rows), f32; arithmetic in f32. Outputs may take the place of inputs of the same shape. As dev.heddle.engine.fused.LayerNorm and RmsNorm.
//
// Launch, forward: block (G, R): G threads, a multiple of 32, share a row; R rows a block; G R <= 1024. Grid ceil(rows / R). No
// dynamic shared memory. Choose G = 32 ceil(columns / 512), at most 1024, and R = max(1, 128 / G).
//
// Launch, backward: block (G, R), G a multiple of 32, G R <= 512; R must be 1 if columns > 8 G. Any grid P: blocks take R rows in
// turn. Dynamic shared memory 64 G bytes if R > 1, else 0. Choose G = 32 ceil(columns / 256), at most 512, R = max(1, 512 / G), and
// P = 2 blocks a multiprocessor or ceil(rows / R), the smaller. Workspace `partials`: float (P, 2 columns), (P, columns) for RMS norm;
// then norm_backward_parameters sums it: block (32, 8), grid ceil(2 columns / 32), ceil(columns / 32) for RMS norm.
#include "common.cuh"

template <class T, int V, bool RMS>
__device__ __forceinline__ void norm_forward(T* y, float* mean_out, float* rstd_out, T* sum, const T* x, const T* residual,
                                             const T* __restrict__ weight, const T* __restrict__ bias, int64_t rows, int columns,
                                             float eps) {
    int64_t row = static_cast<int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
    bool live = row < rows;
    int64_t start = row * columns;
    RowPart<T, V, V == 1 ? 8 : 16> part((residual ? sum : x) + start, live ? columns : 0);
    part.fill([&](int column) {
        Vec<T, V> v = load<V>(x + start + column);
        if (residual) {
            Vec<T, V> r = load<V>(residual + start + column);
            for (int j = 0; j < V; j++) {
                v.at[j] = from_float<T>(to_float(v.at[j]) + to_float(r.at[j]));
            }
            store(sum + start + column, v);
        }
        return v;
    });

    float mean = 0;
    if (!RMS) {
        part.each([&](int, int, const Vec<T, V>& v) {
            for (int j = 0; j < V; j++) {
                mean += to_float(v.at[j]);
            }
        });
        mean = reduce_row<Add>(mean) / columns;
    }
    float squares = 0;
    part.each([&](int, int, const Vec<T, V>& v) {
        for (int j = 0; j < V; j++) {
            float centred = to_float(v.at[j]) - mean;
            squares += centred * centred;
        }
    });
    float rstd = 1 / sqrtf(reduce_row<Add>(squares) / columns + eps);

    part.each([&](int, int column, const Vec<T, V>& v) {
        Vec<T, V> w = load<V>(weight + column);
        Vec<T, V> b;
        if (!RMS) {
            b = load<V>(bias + column);
        }
        Vec<T, V> result;
        for (int j = 0; j < V; j++) {
            float scaled = (to_float(v.at[j]) - mean) * rstd * to_float(w.at[j]);
            result.at[j] = from_float<T>(RMS ? scaled : scaled + to_float(b.at[j]));
        }
        store(y + start + column, result);
    });
    if (live && threadIdx.x == 0) {
        if (!RMS && mean_out) {
            mean_out[row] = mean;
        }
        if (rstd_out) {
            rstd_out[row] = rstd;
        }
    }
}

constexpr int OWNED = 8; // columns a thread of the backward keeps its sums of in registers

/// Each thread sums dweight and dbias of its columns over the block's rows: in registers, or, for columns beyond G * OWNED, in the
/// block's part of the workspace, which no other thread touches there.
template <class T, int V, bool RMS>
__device__ __forceinline__ void norm_backward(T* dx, float* partials, const T* x, const T* __restrict__ weight, const float* mean_in,
                                              const float* rstd_in, const T* dy, const T* dsum, int64_t rows, int columns) {
    DYNAMIC_SHARED(unsigned char, shared);
    float* dweight_part = partials + static_cast<int64_t>(blockIdx.x) * columns * (RMS ? 1 : 2);
    float* dbias_part = dweight_part + columns;
    float dweight[OWNED] = {};
    float dbias[OWNED] = {};
    for (int column = (OWNED / V * blockDim.x + threadIdx.x) * V; column < columns; column += blockDim.x * V) {
        for (int j = 0; j < V; j++) {
            dweight_part[column + j] = 0;
            if (!RMS) {
                dbias_part[column + j] = 0;
            }
        }
    }

    for (int64_t first = static_cast<int64_t>(blockIdx.x) * blockDim.y; first < rows;
         first += static_cast<int64_t>(gridDim.x) * blockDim.y) {
        int64_t row = first + threadIdx.y;
        bool live = row < rows;
        int64_t start = row * columns;
        RowPart<T, V, OWNED> inputs(x + start, live ? columns : 0);
        RowPart<T, V, OWNED> gradients(dy + start, live ? columns : 0);
        inputs.fill();
        gradients.fill();
        float mean = !RMS && live ? mean_in[row] : 0;
        float rstd = live ? rstd_in[row] : 0;

        float means[2] = {0, 0}; // of g n, of g
        gradients.each([&](int i, int column, const Vec<T, V>& d) {
            Vec<T, V> v = i >= 0 ? inputs.held[i] : load<V>(inputs.row + column);
            Vec<T, V> w = load<V>(weight + column);
            for (int j = 0; j < V; j++) {
                float g = to_float(d.at[j]) * to_float(w.at[j]);
                means[0] += g * ((to_float(v.at[j]) - mean) * rstd);
                means[1] += g;
            }
        });
        reduce_row<Add>(means);
        means[0] /= columns;
        means[1] = RMS ? 0 : means[1] / columns;

        gradients.each([&](int i, int column, const Vec<T, V>& d) {
            Vec<T, V> v = i >= 0 ? inputs.held[i] : load<V>(inputs.row + column);
            Vec<T, V> w = load<V>(weight + column);
            Vec<T, V> s = {};
            if (dsum) {
                s = load<V>(dsum + start + column);
            }
            Vec<T, V> result;
            for (int j = 0; j < V; j++) {
                float gradient = to_float(d.at[j]);
                float normal = (to_float(v.at[j]) - mean) * rstd;
                float through = (gradient * to_float(w.at[j]) - means[1] - normal * means[0]) * rstd;
                result.at[j] = from_float<T>(dsum ? through + to_float(s.at[j]) : through);
                if (i >= 0) {
                    dweight[i * V + j] += gradient * normal;
                    dbias[i * V + j] += RMS ? 0 : gradient;
                } else {
                    dweight_part[column + j] += gradient * normal;
                    if (!RMS) {
                        dbias_part[column + j] += gradient;
                    }
                }
            }
            store(dx + start + column, result);
        });
    }

    if (blockDim.y > 1) { // the rows of the block's threads add up in order; the last has the total
        float* total = reinterpret_cast<float*>(shared) + threadIdx.x; // (2 OWNED, G)
        for (int y = 0; y < blockDim.y; y++) {
            if (y == threadIdx.y) {
#pragma unroll
                for (int k = 0; k < OWNED; k++) {
                    float* at = total + 2 * k * blockDim.x;
                    if (y > 0) {
                        dweight[k] += at[0];
                        dbias[k] += at[blockDim.x];
                    }
                    at[0] = dweight[k];
                    at[blockDim.x] = dbias[k];
                }
            }
            __syncthreads();
        }
    }
    if (threadIdx.y == blockDim.y - 1) {
#pragma unroll
        for (int k = 0; k < OWNED; k++) {
            int column = (k / V * blockDim.x + threadIdx.x) * V + k % V;
            if (column < columns) {
                dweight_part[column] = dweight[k];
                if (!RMS) {
                    dbias_part[column] = dbias[k];
                }
            }
        }
    }
}

// layer_norm_forward_T: y; mean and rstd (rows), each or both null if not wanted; sum: where x + residual goes, which is then what is
//   normalised, unused if residual is null; x; residual or null; weight; bias; rows; columns; eps.
// layer_norm_backward_T: dx; partials (workspace); x (sum, if there was a residual); weight; mean; rstd; dy; dsum: another gradient
//   of x to add to dx, such as that of sum, or null; rows; columns.
// rms_norm_forward_T, rms_norm_backward_T: the same without mean and bias.
// norm_backward_parameters_T: dweight; dbias, null for RMS norm; partials; P; columns.
#define EXPORT(T)                                                                                                              \
    extern "C" __global__ void __launch_bounds__(1024)                                                                         \
        layer_norm_forward_##T(T* y, float* mean, float* rstd, T* sum, const T* x, const T* residual, const T* weight,         \
                               const T* bias, int64_t rows, int columns, float eps) {                                          \
        constexpr int V = per_16_bytes<T>();                                                                                   \
        if (columns % V == 0 && aligned_16(y, sum, x, residual, weight, bias)) {                                               \
            norm_forward<T, V, false>(y, mean, rstd, sum, x, residual, weight, bias, rows, columns, eps);                      \
        } else {                                                                                                               \
            norm_forward<T, 1, false>(y, mean, rstd, sum, x, residual, weight, bias, rows, columns, eps);                      \
        }                                                                                                                      \
    }                                                                                                                          \
    extern "C" __global__ void __launch_bounds__(1024)                                                                         \
        rms_norm_forward_##T(T* y, float* rstd, T* sum, const T* x, const T* residual, const T* weight, int64_t rows,          \
                             int columns, float eps) {                                                                         \
        constexpr int V = per_16_bytes<T>();                                                                                   \
        if (columns % V == 0 && aligned_16(y, sum, x, residual, weight)) {                                                     \
            norm_forward<T, V, true>(y, nullptr, rstd, sum, x, residual, weight, nullptr, rows, columns, eps);                 \
        } else {                                                                                                               \
            norm_forward<T, 1, true>(y, nullptr, rstd, sum, x, residual, weight, nullptr, rows, columns, eps);                 \
        }                                                                                                                      \
    }                                                                                                                          \
    extern "C" __global__ void __launch_bounds__(512, 2)                                                                       \
        layer_norm_backward_##T(T* dx, float* partials, const T* x, const T* weight, const float* mean, const float* rstd,     \
                                const T* dy, const T* dsum, int64_t rows, int columns) {                                       \
        constexpr int V = per_16_bytes<T>();                                                                                   \
        if (columns % V == 0 && aligned_16(dx, x, weight, dy, dsum)) {                                                         \
            norm_backward<T, V, false>(dx, partials, x, weight, mean, rstd, dy, dsum, rows, columns);                          \
        } else {                                                                                                               \
            norm_backward<T, 1, false>(dx, partials, x, weight, mean, rstd, dy, dsum, rows, columns);                          \
        }                                                                                                                      \
    }                                                                                                                          \
    extern "C" __global__ void __launch_bounds__(512, 2)                                                                       \
        rms_norm_backward_##T(T* dx, float* partials, const T* x, const T* weight, const float* rstd, const T* dy,             \
                              const T* dsum, int64_t rows, int columns) {                                                      \
        constexpr int V = per_16_bytes<T>();                                                                                   \
        if (columns % V == 0 && aligned_16(dx, x, weight, dy, dsum)) {                                                         \
            norm_backward<T, V, true>(dx, partials, x, weight, nullptr, rstd, dy, dsum, rows, columns);                        \
        } else {                                                                                                               \
            norm_backward<T, 1, true>(dx, partials, x, weight, nullptr, rstd, dy, dsum, rows, columns);                        \
        }                                                                                                                      \
    }                                                                                                                          \
    extern "C" __global__ void __launch_bounds__(256)                                                                          \
        norm_backward_parameters_##T(T* dweight, T* dbias, const float* partials, int parts, int columns) {                    \
        sum_partials(partials, parts, dbias ? 2 * columns : columns, [=](int column, float sum) {                              \
            (column < columns ? dweight[column] : dbias[column - columns]) = from_float<T>(sum);                               \
        });                                                                                                                    \
    }

EXPORT(f32)
EXPORT(bf16)
EXPORT(f16)
