// What every kernel file shares: fixed-width names (NVRTC has no headers), 16-bit floats, the few PTX instructions that C++
// has no words for, 16-byte accesses, reductions in a fixed order, and Philox.
//
// Everything in PTX is here, and left out under HEDDLE_STAND_IN: a test-only stand-in compiles the same files with g++ for the
// CPU and brings its own versions of exactly those functions. Nothing here or in the kernels adds floats atomically: same
// input, same launch geometry, same bits.
#ifndef HEDDLE_COMMON_CUH
#define HEDDLE_COMMON_CUH

#if defined(__CUDACC_RTC__) || defined(HEDDLE_STAND_IN)
typedef unsigned char uint8_t;
typedef unsigned short uint16_t;
typedef int int32_t;
typedef unsigned int uint32_t;
typedef long long int64_t;
typedef unsigned long long uint64_t;
#else
#include <stdint.h>
#endif

/// 16-bit floats: 8 exponent and 7 fraction bits (bf16), 5 and 10 (f16, IEEE 754 binary16).
struct bf16 { uint16_t bits; };
struct f16 { uint16_t bits; };
typedef float f32;

#ifdef HEDDLE_STAND_IN

#include "cuda_host_ptx.h"

inline float exp2_approx(float x) { return exp2f(x); }

inline uint32_t pack(float low, float high, bf16) {
    return to_bf16(low).bits | static_cast<uint32_t>(to_bf16(high).bits) << 16;
}

inline uint32_t pack(float low, float high, f16) {
    return to_f16(low).bits | static_cast<uint32_t>(to_f16(high).bits) << 16;
}

#else

/// Dynamic shared memory of a kernel: DYNAMIC_SHARED(unsigned char, name);
#define DYNAMIC_SHARED(type, name) extern __shared__ __align__(128) type name[]

__device__ __forceinline__ float to_float(bf16 x) { return __uint_as_float(static_cast<uint32_t>(x.bits) << 16); }

__device__ __forceinline__ float to_float(f16 x) {
    float y;
    asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits));
    return y;
}

/// Rounds to nearest, ties to even.
__device__ __forceinline__ bf16 to_bf16(float x) {
    bf16 y;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
    return y;
}

/// Rounds to nearest, ties to even.
__device__ __forceinline__ f16 to_f16(float x) {
    f16 y;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
    return y;
}

/// d (16x8) += a (16x16, row) b (16x8, col). With g = lane / 4 and t = lane % 4: a[0] holds row g, columns 2t and 2t+1; a[1]
/// row g+8; a[2] and a[3] the same 8 columns on; b[0] rows 2t and 2t+1 of column g, b[1] 8 rows on; d[0], d[1] row g, columns
/// 2t and 2t+1; d[2], d[3] row g+8.
__device__ __forceinline__ void mma_16816(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], bf16) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

__device__ __forceinline__ void mma_16816(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], f16) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

__device__ __forceinline__ uint32_t shared_address(const void* shared) {
    return static_cast<uint32_t>(__cvta_generic_to_shared(shared));
}

/// Loads 8x8 matrices of 16-bit elements: lane l gives the address of row l % 8 of matrix l / 8; in r[i] lane l gets elements
/// 2(l % 4) and 2(l % 4) + 1 of row l / 4 of matrix i. The trans forms load each matrix transposed.
__device__ __forceinline__ void ldmatrix_x4(uint32_t (&r)[4], const void* shared) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(shared_address(shared)) : "memory");
}

__device__ __forceinline__ void ldmatrix_x4_trans(uint32_t (&r)[4], const void* shared) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(shared_address(shared)) : "memory");
}

__device__ __forceinline__ void ldmatrix_x2(uint32_t (&r)[2], const void* shared) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1]) : "r"(shared_address(shared)) : "memory");
}

__device__ __forceinline__ void ldmatrix_x2_trans(uint32_t (&r)[2], const void* shared) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1]) : "r"(shared_address(shared)) : "memory");
}

/// Starts a copy of 16 bytes; writes zeros, and reads nothing, if not valid. Both addresses are multiples of 16.
__device__ __forceinline__ void cp_async_16(void* shared, const void* global, bool valid) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                 :: "r"(shared_address(shared)), "l"(global), "r"(valid ? 16 : 0) : "memory");
}

/// Closes the group of copies begun since the last commit.
__device__ __forceinline__ void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

/// Waits until all but this thread's N newest groups of copies have arrived.
template <int N> __device__ __forceinline__ void cp_async_wait() { asm volatile("cp.async.wait_group %0;" :: "n"(N) : "memory"); }

/// 2^x to 2 units in the last place; denormal results are 0.
__device__ __forceinline__ float exp2_approx(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

/// Two floats rounded to 16 bits each, the first in the low half.
__device__ __forceinline__ uint32_t pack(float low, float high, bf16) {
    uint32_t y;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(high), "f"(low));
    return y;
}

__device__ __forceinline__ uint32_t pack(float low, float high, f16) {
    uint32_t y;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(high), "f"(low));
    return y;
}

#endif // HEDDLE_STAND_IN

__device__ __forceinline__ float to_float(float x) { return x; }

/// A float as T, rounded to nearest even.
template <class T> __device__ __forceinline__ T from_float(float x);
template <> __device__ __forceinline__ float from_float<float>(float x) { return x; }
template <> __device__ __forceinline__ bf16 from_float<bf16>(float x) { return to_bf16(x); }
template <> __device__ __forceinline__ f16 from_float<f16>(float x) { return to_f16(x); }

__device__ __forceinline__ float infinity() { return __uint_as_float(0x7f800000u); }
__device__ __forceinline__ float not_a_number() { return __uint_as_float(0x7fc00000u); }

// ---- 16-byte accesses

/// N neighbours, loaded and stored by one instruction if they make 16 bytes or less.
template <class T, int N> struct alignas(sizeof(T) * N) Vec { T at[N]; };

template <int N, class T> __device__ __forceinline__ Vec<T, N> load(const T* p) {
    return *reinterpret_cast<const Vec<T, N>*>(p);
}

template <class T, int N> __device__ __forceinline__ void store(T* p, const Vec<T, N>& v) {
    *reinterpret_cast<Vec<T, N>*>(p) = v;
}

/// Elements of T in 16 bytes.
template <class T> __host__ __device__ constexpr int per_16_bytes() { return 16 / sizeof(T); }

/// Whether all addresses are multiples of 16 (null is).
template <class... P> __device__ __forceinline__ bool aligned_16(P... p) {
    return ((reinterpret_cast<uint64_t>(p) | ...) & 15) == 0;
}

// ---- reductions: always the same order, so always the same bits

[[maybe_unused]] constexpr int WARP = 32;
[[maybe_unused]] constexpr uint32_t ALL_LANES = 0xffffffffu;

struct Add {
    static __device__ __forceinline__ float start() { return 0; }
    static __device__ __forceinline__ float apply(float a, float b) { return a + b; }
};

struct Max {
    static __device__ __forceinline__ float start() { return -infinity(); }
    static __device__ __forceinline__ float apply(float a, float b) { return fmaxf(a, b); }
};

/// Reduces over the lanes of a warp; every lane gets the same result.
template <class Op> __device__ __forceinline__ float reduce_warp(float x) {
#pragma unroll
    for (int mask = WARP / 2; mask > 0; mask /= 2) {
        x = Op::apply(x, __shfl_xor_sync(ALL_LANES, x, mask));
    }
    return x;
}

/// Reduces N values, each over the blockDim.x threads (a multiple of 32) with one threadIdx.y; each of these gets the results.
/// All threads of the block must call it, unless blockDim.x is 32.
template <class Op, int N> __device__ __forceinline__ void reduce_row(float (&x)[N]) {
    __shared__ float of_warp[N][WARP];
#pragma unroll
    for (int n = 0; n < N; n++) {
        x[n] = reduce_warp<Op>(x[n]);
    }
    if (blockDim.x == WARP) {
        return;
    }
    int lane = threadIdx.x % WARP;
    int warps = blockDim.x / WARP;
    int first = threadIdx.y * warps;
    __syncthreads(); // the last call's results have been read
    if (lane == 0) {
        for (int n = 0; n < N; n++) {
            of_warp[n][first + threadIdx.x / WARP] = x[n];
        }
    }
    __syncthreads();
#pragma unroll
    for (int n = 0; n < N; n++) {
        x[n] = reduce_warp<Op>(lane < warps ? of_warp[n][first + lane] : Op::start());
    }
}

/// The same for one value.
template <class Op> __device__ __forceinline__ float reduce_row(float x) {
    float one[1] = {x};
    reduce_row<Op, 1>(one);
    return one[0];
}

/// What one thread sees of a row of which blockDim.x threads take V columns in turn: its first HELD columns stay in registers, so
/// that they are read from memory once; more are read again in each pass.
template <class T, int V, int HELD> struct RowPart {
    static constexpr int PACKS = HELD / V;
    const T* row;
    int columns;
    Vec<T, V> held[PACKS];

    __device__ __forceinline__ RowPart(const T* row, int columns) : row(row), columns(columns) {}

    /// Calls fetch(column), which gives the V elements from there; if not what row holds, it must have stored them there.
    template <class Fetch> __device__ __forceinline__ void fill(Fetch fetch) {
        int step = blockDim.x * V;
        int column = threadIdx.x * V;
#pragma unroll
        for (int i = 0; i < PACKS; i++, column += step) {
            if (column < columns) {
                held[i] = fetch(column);
            }
        }
        for (; column < columns; column += step) {
            fetch(column);
        }
    }

    __device__ __forceinline__ void fill() {
        const T* from = row;
        fill([=](int column) { return load<V>(from + column); });
    }

    /// Calls body(i, column, elements) for every V columns of this thread; i counts the held ones, and is -1 for others.
    template <class Body> __device__ __forceinline__ void each(Body body) const {
        int step = blockDim.x * V;
        int column = threadIdx.x * V;
#pragma unroll
        for (int i = 0; i < PACKS; i++, column += step) {
            if (column < columns) {
                body(i, column, held[i]);
            }
        }
        for (; column < columns; column += step) {
            body(-1, column, load<V>(row + column));
        }
    }
};

/// The second stage of sums over rows: sum over p < parts of partials (parts, columns) at a column, by a block of (32, 8), in the
/// order p = 0, 8, 16 ..., then 1, 9 ...; give(column, sum) is called once a column. Grid: ceil(columns / 32).
template <class Give> __device__ __forceinline__ void sum_partials(const float* partials, int parts, int columns, Give give) {
    __shared__ float of_row[8][WARP];
    int column = blockIdx.x * WARP + threadIdx.x;
    float sum = 0;
    if (column < columns) {
#pragma unroll 4
        for (int p = threadIdx.y; p < parts; p += 8) {
            sum += partials[static_cast<int64_t>(p) * columns + column];
        }
    }
    of_row[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y == 0 && column < columns) {
        for (int y = 1; y < 8; y++) {
            sum += of_row[y][threadIdx.x];
        }
        give(column, sum);
    }
}

// ---- random numbers

/// The four words of Philox 4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011) at a 64-bit counter under a
/// 64-bit key; the same numbers as dev.heddle.engine.op.Philox.
__device__ __forceinline__ void philox(uint32_t (&words)[4], uint64_t seed, uint64_t counter) {
    uint32_t x0 = static_cast<uint32_t>(counter);
    uint32_t x1 = static_cast<uint32_t>(counter >> 32);
    uint32_t x2 = 0;
    uint32_t x3 = 0;
    uint32_t key0 = static_cast<uint32_t>(seed);
    uint32_t key1 = static_cast<uint32_t>(seed >> 32);
#pragma unroll
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = static_cast<uint64_t>(0xD2511F53u) * x0;
        uint64_t p1 = static_cast<uint64_t>(0xCD9E8D57u) * x2;
        x0 = static_cast<uint32_t>(p1 >> 32) ^ x1 ^ key0;
        x1 = static_cast<uint32_t>(p1);
        x2 = static_cast<uint32_t>(p0 >> 32) ^ x3 ^ key1;
        x3 = static_cast<uint32_t>(p0);
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
    words[0] = x0;
    words[1] = x1;
    words[2] = x2;
    words[3] = x3;
}

/// In [0, 1), a multiple of 2^-24, from a random word.
__device__ __forceinline__ float uniform(uint32_t word) { return static_cast<float>(word >> 8) * 0x1p-24f; }

#endif
