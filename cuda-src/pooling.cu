// Max and average pooling over up to three spatial axes, and their gradients, for any strides of the operands. Each thread computes
// one element of the result, so sums are in a fixed order; a maximum's place is found anew where it is needed, not stored.
#include "common.cuh"
#include "expression.cuh"

#ifndef DTYPE
#define DTYPE f32
#endif

/// Extents and strides in elements; spatial axes beyond the op's have extent 1.
struct Geometry {
    int64_t channels;
    int64_t in[3];
    int64_t out[3];
    int64_t kernel[3];
    int64_t stride[3];
    int64_t before[3];
    int64_t after[3];
    int64_t dilation[3];
    int64_t x_strides[5]; // N, C, then spatial
    int64_t y_strides[5];
    int64_t count_padding;
};

static __device__ __forceinline__ int64_t offset(const int64_t (&strides)[5], int64_t n, int64_t c, const int64_t (&at)[3]) {
    return n * strides[0] + c * strides[1] + at[0] * strides[2] + at[1] * strides[3] + at[2] * strides[4];
}

static __device__ __forceinline__ void split(int64_t t, const int64_t (&extents)[3], int64_t channels, int64_t& n, int64_t& c, int64_t (&at)[3]) {
    for (int i = 2; i >= 0; i--) {
        at[i] = t % extents[i];
        t /= extents[i];
    }
    c = t % channels;
    n = t / channels;
}

/// Calls body(position, offset in x) for every element of x under the window of output `at`, in row-major order.
template <class Body> static __device__ __forceinline__ void window(const Geometry& g, int64_t n, int64_t c, const int64_t (&at)[3], Body body) {
    int64_t p[3];
    for (int64_t k0 = 0; k0 < g.kernel[0]; k0++) {
        p[0] = at[0] * g.stride[0] - g.before[0] + k0 * g.dilation[0];
        for (int64_t k1 = 0; k1 < g.kernel[1]; k1++) {
            p[1] = at[1] * g.stride[1] - g.before[1] + k1 * g.dilation[1];
            for (int64_t k2 = 0; k2 < g.kernel[2]; k2++) {
                p[2] = at[2] * g.stride[2] - g.before[2] + k2 * g.dilation[2];
                if (p[0] >= 0 && p[0] < g.in[0] && p[1] >= 0 && p[1] < g.in[1] && p[2] >= 0 && p[2] < g.in[2]) {
                    body(offset(g.x_strides, n, c, p));
                }
            }
        }
    }
}

/// Where the maximum of a window is: the first of equal ones, a NaN above all; -1 if the window is empty.
static __device__ __forceinline__ int64_t maximum_at(const Geometry& g, const DTYPE* x, int64_t n, int64_t c, const int64_t (&at)[3]) {
    int64_t best = -1;
    window(g, n, c, at, [&](int64_t from) {
        auto value = widen(x[from]);
        auto most = widen(x[best < 0 ? from : best]);
        if (best < 0 || value > most || (value != value && most == most)) {
            best = from;
        }
    });
    return best;
}

/// What the average of a window is divided by: its elements, with those in the padding if they count.
static __device__ __forceinline__ int64_t divisor(const Geometry& g, const int64_t (&at)[3]) {
    int64_t count = 1;
    for (int i = 0; i < 3; i++) {
        int64_t low = g.count_padding ? -g.before[i] : 0;
        int64_t high = g.in[i] + (g.count_padding ? g.after[i] : 0);
        int64_t inside = 0;
        for (int64_t k = 0; k < g.kernel[i]; k++) {
            int64_t p = at[i] * g.stride[i] - g.before[i] + k * g.dilation[i];
            inside += p >= low && p < high;
        }
        count *= inside;
    }
    return count;
}

/// y = max over windows of x, -infinity over an empty one (all taps in the padding). A thread an element of y, 256 a block; likewise
/// below for each result.
extern "C" __global__ void max_pool(DTYPE* y, const DTYPE* x, int64_t elements, Geometry g) {
    int64_t t = static_cast<int64_t>(blockIdx.x) * 256 + threadIdx.x;
    if (t < elements) {
        int64_t n, c, at[3];
        split(t, g.out, g.channels, n, c, at);
        int64_t from = maximum_at(g, x, n, c, at);
        y[offset(g.y_strides, n, c, at)] = from < 0 ? narrow<DTYPE>(static_cast<decltype(widen(DTYPE()))>(-infinity())) : x[from];
    }
}

/// u = v at the places of the maxima of x, 0 where a window is empty; v lies as x does.
extern "C" __global__ void max_pool_gather(DTYPE* u, const DTYPE* x, const DTYPE* v, int64_t elements, Geometry g) {
    int64_t t = static_cast<int64_t>(blockIdx.x) * 256 + threadIdx.x;
    if (t < elements) {
        int64_t n, c, at[3];
        split(t, g.out, g.channels, n, c, at);
        int64_t from = maximum_at(g, x, n, c, at);
        u[offset(g.y_strides, n, c, at)] = from < 0 ? DTYPE() : v[from];
    }
}

extern "C" __global__ void avg_pool(DTYPE* y, const DTYPE* x, int64_t elements, Geometry g) {
    int64_t t = static_cast<int64_t>(blockIdx.x) * 256 + threadIdx.x;
    if (t < elements) {
        int64_t n, c, at[3];
        split(t, g.out, g.channels, n, c, at);
        decltype(widen(DTYPE())) sum = 0;
        window(g, n, c, at, [&](int64_t from) { sum += widen(x[from]); });
        y[offset(g.y_strides, n, c, at)] = narrow<DTYPE>(sum / static_cast<decltype(sum)>(divisor(g, at)));
    }
}

/// Calls body(output position) for every window that covers position `p` of the input, in row-major order.
template <class Body> static __device__ __forceinline__ void windows_over(const Geometry& g, const int64_t (&p)[3], Body body) {
    int64_t at[3];
    int64_t low[3];
    int64_t high[3];
    for (int i = 0; i < 3; i++) {
        int64_t reach = p[i] + g.before[i] - g.dilation[i] * (g.kernel[i] - 1);
        low[i] = reach <= 0 ? 0 : (reach + g.stride[i] - 1) / g.stride[i];
        high[i] = (p[i] + g.before[i]) / g.stride[i];
        high[i] = high[i] < g.out[i] ? high[i] : g.out[i] - 1;
    }
    for (at[0] = low[0]; at[0] <= high[0]; at[0]++) {
        for (at[1] = low[1]; at[1] <= high[1]; at[1]++) {
            for (at[2] = low[2]; at[2] <= high[2]; at[2]++) {
                bool covers = true;
                for (int i = 0; i < 3; i++) {
                    covers &= (p[i] + g.before[i] - at[i] * g.stride[i]) % g.dilation[i] == 0;
                }
                if (covers) {
                    body(at);
                }
            }
        }
    }
}

/// dx gets dy where x was the maximum of a window.
extern "C" __global__ void max_pool_backward(DTYPE* dx, const DTYPE* x, const DTYPE* dy, int64_t elements, Geometry g) {
    int64_t t = static_cast<int64_t>(blockIdx.x) * 256 + threadIdx.x;
    if (t < elements) {
        int64_t n, c, p[3];
        split(t, g.in, g.channels, n, c, p);
        int64_t here = offset(g.x_strides, n, c, p);
        decltype(widen(DTYPE())) sum = 0;
        windows_over(g, p, [&](const int64_t (&at)[3]) {
            if (maximum_at(g, x, n, c, at) == here) {
                sum += widen(dy[offset(g.y_strides, n, c, at)]);
            }
        });
        dx[here] = narrow<DTYPE>(sum);
    }
}

extern "C" __global__ void avg_pool_backward(DTYPE* dx, const DTYPE* dy, int64_t elements, Geometry g) {
    int64_t t = static_cast<int64_t>(blockIdx.x) * 256 + threadIdx.x;
    if (t < elements) {
        int64_t n, c, p[3];
        split(t, g.in, g.channels, n, c, p);
        decltype(widen(DTYPE())) sum = 0;
        windows_over(g, p, [&](const int64_t (&at)[3]) {
            sum += widen(dy[offset(g.y_strides, n, c, at)]) / static_cast<decltype(sum)>(divisor(g, at));
        });
        dx[offset(g.x_strides, n, c, p)] = narrow<DTYPE>(sum);
    }
}
