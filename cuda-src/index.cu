// Reading and adding by index: operands are seen as x (outer, extent, inner). An index out of range is reported through
// `error` (the first word becomes 1, the second the index) and otherwise skipped; the host throws when it next reads. Rows of
// tables of floats, as embeddings have, are left to embedding.cu.
#include "common.cuh"
#include "expression.cuh"

#ifndef DTYPE
#define DTYPE f32
#endif
#ifndef INDEX
#define INDEX int64_t
#endif

static __device__ __forceinline__ bool in_range(int64_t at, int64_t extent, int64_t* error) {
    if (at >= 0 && at < extent) {
        return true;
    }
    error[1] = at;
    error[0] = 1;
    return false;
}

/// y (outer, count, inner) = x (outer, index (count), inner). A thread an element, 256 a block.
extern "C" __global__ void gather_slices(DTYPE* y, const DTYPE* x, const INDEX* index, int64_t* error, int64_t elements,
        int64_t extent, int64_t inner, int64_t count) {
    int64_t t = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (t < elements) {
        int64_t i = t % inner;
        int64_t k = t / inner % count;
        int64_t o = t / inner / count;
        int64_t at = index[k];
        if (in_range(at, extent, error)) {
            y[t] = x[(o * extent + at) * inner + i];
        }
    }
}

/// y (outer, count, inner) = x (outer, index (outer, count, inner), inner). A thread an element, 256 a block.
extern "C" __global__ void gather_elements(DTYPE* y, const DTYPE* x, const INDEX* index, int64_t* error, int64_t elements,
        int64_t extent, int64_t inner, int64_t count) {
    int64_t t = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (t < elements) {
        int64_t i = t % inner;
        int64_t o = t / inner / count;
        int64_t at = index[t];
        if (in_range(at, extent, error)) {
            y[t] = x[(o * extent + at) * inner + i];
        }
    }
}

static __device__ __forceinline__ void add(DTYPE& y, DTYPE x) {
#ifdef WRAPS
    y = wrap_add(y, x);
#else
    y = narrow<DTYPE>(widen(y) + widen(x));
#endif
}

/// y (outer, extent, inner) += source (outer, count, inner) at index (count); y holds x before. A block of 256 threads owns `rows`
/// neighbouring places of the axis: it looks at all indices, 256 at a time, and adds the slices that belong to it in the order of
/// the source, so sums have the same bits every time. Grid: (ceil(extent / rows), outer).
extern "C" __global__ void scatter_add_slices(DTYPE* y, const INDEX* index, const DTYPE* source, int64_t* error, int64_t extent,
        int64_t inner, int64_t count, int64_t rows) {
    __shared__ int64_t mine[256];
    __shared__ int found[8];
    int64_t first = static_cast<int64_t>(blockIdx.x) * rows;
    int64_t o = blockIdx.y;
    int lane = threadIdx.x % 32;
    int warp = threadIdx.x / 32;
    for (int64_t start = 0; start < count; start += 256) {
        int64_t k = start + threadIdx.x;
        int64_t at = k < count ? static_cast<int64_t>(index[k]) : -1;
        bool ok = k < count && (at >= 0 && at < extent);
        if (k < count && !ok && blockIdx.x == 0 && o == 0) {
            in_range(at, extent, error);
        }
        bool owned = ok && at >= first && at < first + rows;
        uint32_t ballot = __ballot_sync(ALL_LANES, owned);
        if (lane == 0) {
            found[warp] = __popc(ballot);
        }
        __syncthreads();
        int before = 0;
        int total = 0;
        for (int w = 0; w < 8; w++) {
            before += w < warp ? found[w] : 0;
            total += found[w];
        }
        if (owned) {
            mine[before + __popc(ballot & ((1u << lane) - 1))] = k;
        }
        __syncthreads();
        for (int m = 0; m < total; m++) {
            int64_t from = mine[m];
            int64_t to = index[from];
            for (int64_t i = threadIdx.x; i < inner; i += 256) {
                add(y[(o * extent + to) * inner + i], source[(o * count + from) * inner + i]);
            }
        }
        __syncthreads();
    }
}

/// y (outer, extent, inner) += source at index, both (outer, count, inner). A thread for each of outer x inner, in order of the source.
extern "C" __global__ void scatter_add_elements(DTYPE* y, const INDEX* index, const DTYPE* source, int64_t* error, int64_t lanes,
        int64_t extent, int64_t inner, int64_t count) {
    int64_t t = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (t < lanes) {
        int64_t i = t % inner;
        int64_t o = t / inner;
        for (int64_t k = 0; k < count; k++) {
            int64_t from = (o * count + k) * inner + i;
            int64_t at = index[from];
            if (in_range(at, extent, error)) {
                add(y[(o * extent + at) * inner + i], source[from]);
            }
        }
    }
}
