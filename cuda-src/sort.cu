// Stable sorting along an axis of x (outer, extent, inner), NaN largest. Runs of up to 1024 elements are sorted by counting for
// each element how many come before it; longer ones by merging runs, where each element finds its place by binary search.
#include "common.cuh"
#include "expression.cuh"

#ifndef DTYPE
#define DTYPE f32
#endif

constexpr int RUN = 1024;

/// Unsigned numbers in the order of the values; both zeros are equal, NaNs are above all.
__device__ __forceinline__ uint64_t ordered(double x) {
    if (x != x) {
        return ~0ull - 1;
    }
    uint64_t bits = static_cast<uint64_t>(__double_as_longlong(x == 0 ? 0.0 : x));
    return bits >> 63 ? ~bits : bits | 1ull << 63;
}
__device__ __forceinline__ uint64_t ordered(float x) { return ordered(static_cast<double>(x)); }
__device__ __forceinline__ uint64_t ordered(i64 x) { return static_cast<uint64_t>(x) ^ 1ull << 63; }
__device__ __forceinline__ uint64_t ordered(i32 x) { return ordered(static_cast<i64>(x)); }
__device__ __forceinline__ uint64_t ordered(u8 x) { return x; }
__device__ __forceinline__ uint64_t ordered(bool x) { return x; }

/// Sorts runs of RUN elements of each lane into keys and places (lanes, extent). Grid: (runs of a lane, lanes), 256 threads.
extern "C" __global__ void sort_runs(uint64_t* keys, int32_t* places, const DTYPE* x, int64_t extent, int64_t inner, int32_t descending) {
    __shared__ uint64_t run[RUN];
    int64_t lane = blockIdx.y;
    int64_t first = static_cast<int64_t>(blockIdx.x) * RUN;
    int n = static_cast<int>(extent - first < RUN ? extent - first : RUN);
    const DTYPE* from = x + lane / inner * extent * inner + lane % inner;
    for (int i = threadIdx.x; i < n; i += 256) {
        uint64_t key = ordered(widen(from[(first + i) * inner]));
        run[i] = descending ? ~key : key;
    }
    __syncthreads();
    for (int i = threadIdx.x; i < n; i += 256) {
        uint64_t key = run[i];
        int rank = 0;
        for (int j = 0; j < n; j++) {
            rank += run[j] < key || (run[j] == key && j < i);
        }
        keys[lane * extent + first + rank] = key;
        places[lane * extent + first + rank] = static_cast<int32_t>(first + i);
    }
}

/// Merges neighbouring sorted runs of `width` elements. A thread an element, 256 a block. Grid: (ceil(extent / 256), lanes).
extern "C" __global__ void merge_runs(uint64_t* keys_out, int32_t* places_out, const uint64_t* keys, const int32_t* places, int64_t extent,
        int64_t width) {
    int64_t i = static_cast<int64_t>(blockIdx.x) * 256 + threadIdx.x;
    if (i >= extent) {
        return;
    }
    const uint64_t* lane = keys + blockIdx.y * extent;
    uint64_t key = lane[i];
    int64_t run = i / width;
    int64_t other = (run ^ 1) * width;
    int64_t low = other < extent ? other : extent;
    int64_t high = other + width < extent ? other + width : extent;
    int64_t begin = low;
    while (low < high) { // elements of the other run that come before this one
        int64_t middle = (low + high) / 2;
        bool before = run % 2 == 0 ? lane[middle] < key : lane[middle] <= key;
        low = before ? middle + 1 : low;
        high = before ? high : middle;
    }
    int64_t to = run / 2 * 2 * width + (i - run * width) + (low - begin);
    keys_out[blockIdx.y * extent + to] = key;
    places_out[blockIdx.y * extent + to] = places[blockIdx.y * extent + i];
}

/// The first k of each lane: values and places (outer, k, inner). A thread an element of the result, 256 a block.
extern "C" __global__ void sorted(DTYPE* values, int64_t* places_out, const DTYPE* x, const int32_t* places, int64_t elements, int64_t extent,
        int64_t inner, int64_t k) {
    int64_t t = static_cast<int64_t>(blockIdx.x) * 256 + threadIdx.x;
    if (t < elements) {
        int64_t i = t % inner;
        int64_t rank = t / inner % k;
        int64_t o = t / inner / k;
        int32_t place = places[(o * inner + i) * extent + rank];
        places_out[t] = place;
        values[t] = x[(o * extent + place) * inner + i];
    }
}
