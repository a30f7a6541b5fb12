// Rows of a table by index (index_select and index_add along the first axis), and the gradient of the table: rows that were read
// several times get the sum, always added in the same order, without atomics.
//
// Forward: out[i] = weight[index[i]].
// Backward: dweight[w] += sum over i with index[i] = w of dout[i], in three steps:
//   1. embedding_sort makes keys index << 32 | i and sorts each 1024 of them (bitonic sort, Batcher, 1968);
//   2. embedding_merge, ceil(log2(tiles)) times, merges neighbouring sorted runs, each key finding its place by binary search:
//      keys are all different, so the result is unique;
//   3. embedding_backward sums the rows of each index over 32 sorted keys at a time, and embedding_backward_across adds up the indices
//      that span several of these, so that one frequent index does not keep a single warp busy.
// weight, dweight: (rows, columns); out, dout: (count, columns), f32, bf16 or f16; sums in f32, rounded once. index: int64 or int32.
// An index outside [0, rows) is reported in `error`, as index.cu does (the first word becomes 1, the second the index); it gives
// zeros, and is left out backward.
//
// Launch: forward: block 256, any grid; 4 blocks a multiprocessor are enough. sort: block 512, grid ceil(count / 1024). merge:
// block 256, grid ceil(count / 256). backward and across: block (32, 4), grid (ceil(count / 128), ceil(columns / 256)), any second
// dimension works. No dynamic shared memory. Keys: two buffers of 8 count bytes. Workspace `partials`: float
// (ceil(count / 32), 2, columns), not cleared. dweight holds zeros, or what the sums are added to.
#include "common.cuh"

template <class T, class I, int V>
__device__ __forceinline__ void embedding_forward(T* out, const T* weight, const I* index, int64_t count, int64_t rows, int columns,
                                                  int64_t* error) {
    int packs = columns / V;
    int64_t total = count * packs;
    int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
    for (int64_t at = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; at < total; at += step) {
        int64_t i = at / packs;
        int column = static_cast<int>(at - i * packs) * V;
        int64_t row = index[i];
        Vec<T, V> v = {};
        if (row >= 0 && row < rows) {
            v = load<V>(weight + row * columns + column);
        } else {
            error[0] = 1;
            error[1] = row;
        }
        store(out + i * columns + column, v);
    }
}

constexpr int TILE = 1024; // keys a block sorts
constexpr int SPAN = 32; // sorted keys a warp sums at a time
constexpr uint32_t NOWHERE = 0xffffffffu; // index of keys to leave out; sorts last
constexpr uint64_t NONE = static_cast<uint64_t>(NOWHERE) << 32;

template <class I>
__device__ __forceinline__ void sort_tile(uint64_t* keys, const I* index, int64_t count, int64_t rows, int64_t* error) {
    __shared__ uint64_t tile[TILE];
    int64_t first = static_cast<int64_t>(blockIdx.x) * TILE;
    for (int k = threadIdx.x; k < TILE; k += blockDim.x) {
        int64_t i = first + k;
        int64_t row = i < count ? index[i] : -1;
        uint32_t place = row >= 0 && row < rows ? static_cast<uint32_t>(row) : NOWHERE;
        if (i < count && place == NOWHERE) {
            error[0] = 1;
            error[1] = row;
        }
        tile[k] = static_cast<uint64_t>(place) << 32 | static_cast<uint32_t>(i);
    }
    __syncthreads();
    for (int size = 2; size <= TILE; size *= 2) {
        for (int distance = size / 2; distance > 0; distance /= 2) {
            for (int k = threadIdx.x; k < TILE / 2; k += blockDim.x) {
                int low = k / distance * distance * 2 + k % distance;
                uint64_t a = tile[low];
                uint64_t b = tile[low + distance];
                if ((a > b) == ((low & size) == 0)) {
                    tile[low] = b;
                    tile[low + distance] = a;
                }
            }
            __syncthreads();
        }
    }
    for (int k = threadIdx.x; k < TILE; k += blockDim.x) {
        if (first + k < count) {
            keys[first + k] = tile[k];
        }
    }
}

/// The row of columns that a warp of block (32, 4) works on: tile of SPAN keys, and V columns a lane.
struct Place {
    int64_t span;
    int column;
};

template <int V> __device__ __forceinline__ Place place(int column_block) {
    return {static_cast<int64_t>(blockIdx.x) * blockDim.y + threadIdx.y, (column_block * WARP + static_cast<int>(threadIdx.x)) * V};
}

template <class T, int V> __device__ __forceinline__ void add_to_row(T* dweight, uint32_t row, int columns, int column,
                                                                     const float (&sum)[V]) {
    T* at = dweight + static_cast<int64_t>(row) * columns + column;
    Vec<T, V> v = load<V>(at);
    for (int j = 0; j < V; j++) {
        v.at[j] = from_float<T>(to_float(v.at[j]) + sum[j]);
    }
    store(at, v);
}

__device__ __forceinline__ uint32_t row_of(uint64_t key) { return static_cast<uint32_t>(key >> 32); }

/// Sums within spans. An index all of whose keys lie in the span is added to dweight; the sum of the first, if it goes on from
/// the span before, goes to partials (span, 0), and of the last, if it goes on into the next and began here, to (span, 1).
template <class T, int V>
__device__ __forceinline__ void sum_spans(T* dweight, float* partials, const uint64_t* keys, const T* dout, int64_t count, int columns) {
    for (int block = blockIdx.y; block * WARP * V < columns; block += gridDim.y) {
        Place at = place<V>(block);
        int64_t begin = at.span * SPAN;
        int64_t end = begin + SPAN < count ? begin + SPAN : count;
        if (begin >= count || at.column >= columns) {
            continue;
        }
        uint32_t before = begin > 0 ? row_of(keys[begin - 1]) : NOWHERE;
        uint32_t after = end < count ? row_of(keys[end]) : NOWHERE;
        float* head = partials + at.span * 2 * columns + at.column;
        float sum[V] = {};
        for (int64_t four = begin; four < end; four += 4) {
            uint64_t key[5]; // one more, to see where an index ends
            Vec<T, V> v[4];
#pragma unroll
            for (int k = 0; k < 5; k++) {
                key[k] = four + k < end ? keys[four + k] : NONE;
                if (k < 4 && row_of(key[k]) != NOWHERE) {
                    v[k] = load<V>(dout + static_cast<int64_t>(static_cast<uint32_t>(key[k])) * columns + at.column);
                }
            }
#pragma unroll
            for (int k = 0; k < 4; k++) {
                uint32_t row = row_of(key[k]);
                if (row == NOWHERE) {
                    break;
                }
                for (int j = 0; j < V; j++) {
                    sum[j] += to_float(v[k].at[j]);
                }
                if (row == row_of(key[k + 1])) {
                    continue;
                }
                if (row == before || (four + k + 1 == end && row == after)) {
                    float* to = row == before ? head : head + columns;
                    for (int j = 0; j < V; j++) {
                        to[j] = sum[j];
                    }
                } else {
                    add_to_row<T, V>(dweight, row, columns, at.column, sum);
                }
                for (int j = 0; j < V; j++) {
                    sum[j] = 0;
                }
            }
        }
    }
}

/// Where an index begins in a span and goes on in the next: adds up the parts of all spans that it touches.
template <class T, int V>
__device__ __forceinline__ void sum_across(T* dweight, const float* partials, const uint64_t* keys, int64_t count, int columns) {
    for (int block = blockIdx.y; block * WARP * V < columns; block += gridDim.y) {
        Place at = place<V>(block);
        int64_t begin = at.span * SPAN;
        int64_t end = begin + SPAN;
        if (end >= count || at.column >= columns) {
            continue;
        }
        uint32_t row = row_of(keys[end - 1]);
        bool begins_here = begin == 0 || row_of(keys[begin - 1]) != row;
        if (row == NOWHERE || row_of(keys[end]) != row || !begins_here) {
            continue;
        }
        const float* part = partials + (at.span * 2 + 1) * columns + at.column;
        float sum[V];
        for (int j = 0; j < V; j++) {
            sum[j] = part[j];
        }
        part += columns; // the next span's head
        for (; end < count && row_of(keys[end]) == row; end += SPAN, part += 2 * columns) {
            for (int j = 0; j < V; j++) {
                sum[j] += part[j];
            }
        }
        add_to_row<T, V>(dweight, row, columns, at.column, sum);
    }
}

// embedding_forward_T, embedding_forward_i32_T: out; weight; index (int64, or int32 where the name says so); count; rows; columns;
//   error, two int64.
// embedding_sort_i64, embedding_sort_i32: keys (uint64, count); index; count, below 2^32; rows, below 2^32 - 1; error.
// embedding_merge: out; in; count; run: keys in each sorted run of in, 1024 the first time, then doubled, while below count.
// embedding_backward_T: dweight; partials; keys (sorted); dout; count; columns. embedding_backward_across_T, right after it: dweight;
//   partials; keys; count; columns.
#define EXPORT_FORWARD(NAME, T, I)                                                                                             \
    extern "C" __global__ void __launch_bounds__(256) NAME##_##T(T* out, const T* weight, const I* index, int64_t count,       \
                                                                 int64_t rows, int columns, int64_t* error) {                  \
        constexpr int V = per_16_bytes<T>();                                                                                   \
        if (columns % V == 0 && aligned_16(out, weight)) {                                                                     \
            embedding_forward<T, I, V>(out, weight, index, count, rows, columns, error);                                       \
        } else {                                                                                                               \
            embedding_forward<T, I, 1>(out, weight, index, count, rows, columns, error);                                       \
        }                                                                                                                      \
    }

#define EXPORT(T)                                                                                                              \
    EXPORT_FORWARD(embedding_forward, T, int64_t)                                                                              \
    EXPORT_FORWARD(embedding_forward_i32, T, int32_t)                                                                          \
    extern "C" __global__ void __launch_bounds__(128)                                                                          \
        embedding_backward_##T(T* dweight, float* partials, const uint64_t* keys, const T* dout, int64_t count, int columns) { \
        constexpr int V = per_16_bytes<T>();                                                                                   \
        if (columns % V == 0 && aligned_16(dweight, dout)) {                                                                   \
            sum_spans<T, V>(dweight, partials, keys, dout, count, columns);                                                    \
        } else {                                                                                                               \
            sum_spans<T, 1>(dweight, partials, keys, dout, count, columns);                                                    \
        }                                                                                                                      \
    }                                                                                                                          \
    extern "C" __global__ void __launch_bounds__(128)                                                                          \
        embedding_backward_across_##T(T* dweight, const float* partials, const uint64_t* keys, int64_t count, int columns) {   \
        constexpr int V = per_16_bytes<T>();                                                                                   \
        if (columns % V == 0 && aligned_16(dweight)) {                                                                         \
            sum_across<T, V>(dweight, partials, keys, count, columns);                                                         \
        } else {                                                                                                               \
            sum_across<T, 1>(dweight, partials, keys, count, columns);                                                         \
        }                                                                                                                      \
    }

EXPORT(f32)
EXPORT(bf16)
EXPORT(f16)

extern "C" __global__ void __launch_bounds__(512)
    embedding_sort_i64(uint64_t* keys, const int64_t* index, int64_t count, int64_t rows, int64_t* error) {
    sort_tile(keys, index, count, rows, error);
}

extern "C" __global__ void __launch_bounds__(512)
    embedding_sort_i32(uint64_t* keys, const int32_t* index, int64_t count, int64_t rows, int64_t* error) {
    sort_tile(keys, index, count, rows, error);
}

extern "C" __global__ void __launch_bounds__(256) embedding_merge(uint64_t* out, const uint64_t* in, int64_t count, int64_t run) {
    int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (i >= count) {
        return;
    }
    uint64_t key = in[i];
    int64_t mine = i / run;
    int64_t begin = (mine ^ 1) * run < count ? (mine ^ 1) * run : count; // of the other run
    int64_t low = begin;
    int64_t high = begin + run < count ? begin + run : count;
    while (low < high) { // how many of the other run are smaller
        int64_t middle = (low + high) / 2;
        if (in[middle] < key) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    out[(mine & ~int64_t{1}) * run + (i - mine * run) + (low - begin)] = key;
}
