// Convolution where cuDNN does not serve: padding that differs between the ends of an axis, and machines without it. Direct sums,
// one thread or one block a result, operands of any strides. Correct and deterministic, not fast.
#include "common.cuh"
#include "expression.cuh"

#ifndef DTYPE
#define DTYPE f32
#endif

typedef decltype(widen(DTYPE())) sum_t;

/// x (N, C, *in), w (O, C / groups, *kernel), y (N, O, *out); spatial axes beyond the op's have extent 1.
struct Geometry {
    int64_t n;
    int64_t c;
    int64_t o;
    int64_t groups;
    int64_t in[3];
    int64_t out[3];
    int64_t kernel[3];
    int64_t stride[3];
    int64_t before[3];
    int64_t dilation[3];
    int64_t x_strides[5]; // of the first two axes, then the spatial ones
    int64_t y_strides[5];
    int64_t w_strides[5];
};

static __device__ __forceinline__ void split(int64_t t, const int64_t (&extents)[3], int64_t channels, int64_t& n, int64_t& c, int64_t (&at)[3]) {
    for (int i = 2; i >= 0; i--) {
        at[i] = t % extents[i];
        t /= extents[i];
    }
    c = t % channels;
    n = t / channels;
}

static __device__ __forceinline__ int64_t offset(const int64_t (&strides)[5], int64_t n, int64_t c, const int64_t (&at)[3]) {
    return n * strides[0] + c * strides[1] + at[0] * strides[2] + at[1] * strides[3] + at[2] * strides[4];
}

/// A thread an element of y, 256 a block.
extern "C" __global__ void convolution_forward(DTYPE* y, const DTYPE* x, const DTYPE* w, int64_t elements, Geometry g) {
    int64_t t = static_cast<int64_t>(blockIdx.x) * 256 + threadIdx.x;
    if (t >= elements) {
        return;
    }
    int64_t n, o, at[3], p[3], k[3];
    split(t, g.out, g.o, n, o, at);
    int64_t channels = g.c / g.groups;
    int64_t first = o / (g.o / g.groups) * channels;
    sum_t sum = 0;
    for (int64_t c = 0; c < channels; c++) {
        for (k[0] = 0; k[0] < g.kernel[0]; k[0]++) {
            p[0] = at[0] * g.stride[0] - g.before[0] + k[0] * g.dilation[0];
            for (k[1] = 0; k[1] < g.kernel[1]; k[1]++) {
                p[1] = at[1] * g.stride[1] - g.before[1] + k[1] * g.dilation[1];
                for (k[2] = 0; k[2] < g.kernel[2]; k[2]++) {
                    p[2] = at[2] * g.stride[2] - g.before[2] + k[2] * g.dilation[2];
                    if (p[0] >= 0 && p[0] < g.in[0] && p[1] >= 0 && p[1] < g.in[1] && p[2] >= 0 && p[2] < g.in[2]) {
                        sum += widen(x[offset(g.x_strides, n, first + c, p)]) * widen(w[offset(g.w_strides, o, c, k)]);
                    }
                }
            }
        }
    }
    y[offset(g.y_strides, n, o, at)] = narrow<DTYPE>(sum);
}

/// A thread an element of dx, 256 a block.
extern "C" __global__ void convolution_backward_data(DTYPE* dx, const DTYPE* dy, const DTYPE* w, int64_t elements, Geometry g) {
    int64_t t = static_cast<int64_t>(blockIdx.x) * 256 + threadIdx.x;
    if (t >= elements) {
        return;
    }
    int64_t n, c, p[3], at[3], k[3];
    split(t, g.in, g.c, n, c, p);
    int64_t channels = g.c / g.groups;
    int64_t outputs = g.o / g.groups;
    int64_t group = c / channels;
    sum_t sum = 0;
    for (int64_t o = group * outputs; o < (group + 1) * outputs; o++) {
        for (k[0] = 0; k[0] < g.kernel[0]; k[0]++) {
            for (k[1] = 0; k[1] < g.kernel[1]; k[1]++) {
                for (k[2] = 0; k[2] < g.kernel[2]; k[2]++) {
                    bool meets = true;
                    for (int i = 0; i < 3; i++) {
                        int64_t from = p[i] + g.before[i] - k[i] * g.dilation[i];
                        at[i] = from / g.stride[i];
                        meets &= from >= 0 && from % g.stride[i] == 0 && at[i] < g.out[i];
                    }
                    if (meets) {
                        sum += widen(dy[offset(g.y_strides, n, o, at)]) * widen(w[offset(g.w_strides, o, c % channels, k)]);
                    }
                }
            }
        }
    }
    dx[offset(g.x_strides, n, c, p)] = narrow<DTYPE>(sum);
}

/// A block of 256 threads an element of dw: each thread sums a share of the batch and positions, shares are added in order.
extern "C" __global__ void convolution_backward_weights(DTYPE* dw, const DTYPE* x, const DTYPE* dy, Geometry g) {
    __shared__ sum_t shares[256];
    int64_t t = blockIdx.x;
    int64_t o, c, k[3], n, none, at[3], p[3];
    int64_t channels = g.c / g.groups;
    split(t, g.kernel, channels, o, c, k);
    int64_t channel = o / (g.o / g.groups) * channels + c;
    int64_t positions = g.n * g.out[0] * g.out[1] * g.out[2];
    sum_t sum = 0;
    for (int64_t i = threadIdx.x; i < positions; i += 256) {
        split(i, g.out, 1, n, none, at);
        bool inside = true;
        for (int a = 0; a < 3; a++) {
            p[a] = at[a] * g.stride[a] - g.before[a] + k[a] * g.dilation[a];
            inside &= p[a] >= 0 && p[a] < g.in[a];
        }
        if (inside) {
            sum += widen(x[offset(g.x_strides, n, channel, p)]) * widen(dy[offset(g.y_strides, n, o, at)]);
        }
    }
    shares[threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.x == 0) {
        for (int i = 1; i < 256; i++) {
            sum += shares[i];
        }
        dw[offset(g.w_strides, o, c, k)] = narrow<DTYPE>(sum);
    }
}
