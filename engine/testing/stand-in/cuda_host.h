// CUDA C++ as host C++: with this header in front, a .cu source compiles with g++ and runs on libcuda.so.1's fibers, one
// per CUDA thread. It declares what NVRTC declares by itself and no more, so a source that leans on a missing header
// fails here as it does there. There is no float atomicAdd, on purpose: kernels must give the same bits every run.
#pragma once
#include "module_abi.h"

typedef decltype((char*)0 - (char*)0) ptrdiff_t;

#define __CUDACC__ 1
#define __CUDA_ARCH__ 900
#define __device__
#define __host__
#define __constant__
#define __grid_constant__
#define __forceinline__ inline
#define __noinline__ __attribute__((noinline))
#define __align__(n) __attribute__((aligned(n)))
#define __shared__ static                      // blocks run one after another
#define __builtin_assume(condition)
#ifndef HEDDLE_STAND_IN_SCAN                   // the scan for kernels looks for these two words
#define __global__
#define __launch_bounds__(...)
#endif

// ---- types

#define HEDDLE_VECTORS(T, N, A2, A4)                                                                        \
  struct __attribute__((aligned(A2))) N##2 { T x, y; };                                                     \
  struct N##3 { T x, y, z; };                                                                               \
  struct __attribute__((aligned(A4))) N##4 { T x, y, z, w; };                                               \
  inline N##2 make_##N##2(T x, T y) { return {x, y}; }                                                      \
  inline N##3 make_##N##3(T x, T y, T z) { return {x, y, z}; }                                              \
  inline N##4 make_##N##4(T x, T y, T z, T w) { return {x, y, z, w}; }
HEDDLE_VECTORS(signed char, char, 2, 4) HEDDLE_VECTORS(unsigned char, uchar, 2, 4)
HEDDLE_VECTORS(short, short, 4, 8) HEDDLE_VECTORS(unsigned short, ushort, 4, 8)
HEDDLE_VECTORS(int, int, 8, 16) HEDDLE_VECTORS(unsigned, uint, 8, 16)
HEDDLE_VECTORS(long long, longlong, 16, 16) HEDDLE_VECTORS(unsigned long long, ulonglong, 16, 16)
HEDDLE_VECTORS(float, float, 8, 16) HEDDLE_VECTORS(double, double, 16, 16)
#undef HEDDLE_VECTORS

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

// ---- position and barriers

// Not zero-initialised: zero-initialised data is shared memory, which the driver overwrites before every block.
__attribute__((visibility("hidden"))) inline StandInHere heddle_here = {{1}};
#define threadIdx (*(const uint3*) heddle_here.thread)
#define blockIdx (*(const uint3*) heddle_here.block)
#define blockDim (*(const uint3*) heddle_here.block_dim)
#define gridDim (*(const uint3*) heddle_here.grid_dim)
#define warpSize 32
#define DYNAMIC_SHARED(T, name) T* name = (T*) heddle_here.dynamic_shared

inline void __syncthreads() { heddle_here.block_barrier(); }
inline void heddle_nothing(void**, unsigned) {}
inline void __syncwarp(unsigned mask = 0xffffffffu) { heddle_here.collective(mask, heddle_nothing, &mask); }
inline void __threadfence() {}
inline void __threadfence_block() {}
inline void __trap() { heddle_here.fault(719, "__trap()"); }
extern "C" int printf(const char*, ...);
extern "C" void* memcpy(void*, const void*, size_t);
extern "C" void* memset(void*, int, size_t);

// ---- accesses: the compiler calls one of these before each that it does not know to be right

#define HEDDLE_UNCHECKED extern "C" __attribute__((used, visibility("hidden"), no_sanitize("kernel-address"))) inline
HEDDLE_UNCHECKED void heddle_check(const void* address, size_t bytes, bool write) {
  size_t at = (const char*) address - heddle_here.window;
  if (at >= heddle_here.window_bytes || bytes > heddle_here.window_bytes - at) heddle_here.check(address, bytes, write);
}
#define HEDDLE_ACCESS(n)                                                                                    \
  HEDDLE_UNCHECKED void __asan_load##n(const void* p) { heddle_check(p, n, false); }                        \
  HEDDLE_UNCHECKED void __asan_store##n(const void* p) { heddle_check(p, n, true); }
HEDDLE_ACCESS(1) HEDDLE_ACCESS(2) HEDDLE_ACCESS(4) HEDDLE_ACCESS(8) HEDDLE_ACCESS(16)
#undef HEDDLE_ACCESS
HEDDLE_UNCHECKED void __asan_loadN(const void* p, size_t n) { heddle_check(p, n, false); }
HEDDLE_UNCHECKED void __asan_storeN(const void* p, size_t n) { heddle_check(p, n, true); }
HEDDLE_UNCHECKED void __asan_handle_no_return() {}
HEDDLE_UNCHECKED void __asan_register_globals(const StandInVariable* variables, long count) {
  heddle_here.variables = variables;
  heddle_here.variable_count = count;
}
HEDDLE_UNCHECKED void __asan_unregister_globals(const StandInVariable*, long) {}

// ---- warp collectives

template <class T> struct HeddleExchange { T value; unsigned source; };
template <class T> void heddle_exchange(void** lane, unsigned) {
  T result[32];
  for (int i = 0; i < 32; i++) if (lane[i]) {
    auto from = (HeddleExchange<T>*) lane[((HeddleExchange<T>*) lane[i])->source];
    if (from) result[i] = from->value;
    else memset(&result[i], 0xff, sizeof(T));  // reading a lane that takes no part gives NaN
  }
  for (int i = 0; i < 32; i++) if (lane[i]) ((HeddleExchange<T>*) lane[i])->value = result[i];
}
template <class T> T heddle_shuffle(unsigned mask, T value, unsigned source) {
  HeddleExchange<T> mine{value, source};
  heddle_here.collective(mask, heddle_exchange<T>, &mine);
  return mine.value;
}
inline unsigned heddle_lane() { return heddle_here.linear & 31; }
#define HEDDLE_SHUFFLES(T)                                                                                  \
  inline T __shfl_sync(unsigned mask, T v, int source, int width = 32) {                                    \
    return heddle_shuffle(mask, v, (heddle_lane() & ~(width - 1u)) | (source & (width - 1u)));              \
  }                                                                                                         \
  inline T __shfl_xor_sync(unsigned mask, T v, int bits, int width = 32) {                                  \
    unsigned l = heddle_lane(), s = l ^ bits;                                                               \
    return heddle_shuffle(mask, v, s < ((l & ~(width - 1u)) + width) ? s & 31 : l);                         \
  }                                                                                                         \
  inline T __shfl_down_sync(unsigned mask, T v, unsigned by, int width = 32) {                              \
    unsigned l = heddle_lane();                                                                             \
    return heddle_shuffle(mask, v, (l & (width - 1u)) + by < (unsigned) width ? l + by : l);                \
  }                                                                                                         \
  inline T __shfl_up_sync(unsigned mask, T v, unsigned by, int width = 32) {                                \
    unsigned l = heddle_lane();                                                                             \
    return heddle_shuffle(mask, v, (l & (width - 1u)) >= by ? l - by : l);                                  \
  }
HEDDLE_SHUFFLES(int) HEDDLE_SHUFFLES(unsigned) HEDDLE_SHUFFLES(long) HEDDLE_SHUFFLES(unsigned long)
HEDDLE_SHUFFLES(long long) HEDDLE_SHUFFLES(unsigned long long) HEDDLE_SHUFFLES(float) HEDDLE_SHUFFLES(double)
#undef HEDDLE_SHUFFLES

inline void heddle_ballot(void** lane, unsigned) {
  unsigned bits = 0;
  for (int i = 0; i < 32; i++) if (lane[i] && *(unsigned*) lane[i]) bits |= 1u << i;
  for (int i = 0; i < 32; i++) if (lane[i]) *(unsigned*) lane[i] = bits;
}
inline unsigned __ballot_sync(unsigned mask, int predicate) {
  unsigned mine = predicate != 0;
  heddle_here.collective(mask, heddle_ballot, &mine);
  return mine;
}
inline int __any_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) != 0; }
inline int __all_sync(unsigned mask, int predicate) { return __ballot_sync(mask, !predicate) == 0; }

// ---- atomics: threads take turns, so plain reads and writes do

#define HEDDLE_ATOMICS(T)                                                                                   \
  inline T atomicAdd(T* p, T v) { T old = *p; *p = old + v; return old; }                                   \
  inline T atomicMax(T* p, T v) { T old = *p; *p = old > v ? old : v; return old; }                         \
  inline T atomicMin(T* p, T v) { T old = *p; *p = old < v ? old : v; return old; }                         \
  inline T atomicAnd(T* p, T v) { T old = *p; *p = old & v; return old; }                                   \
  inline T atomicOr(T* p, T v) { T old = *p; *p = old | v; return old; }                                    \
  inline T atomicXor(T* p, T v) { T old = *p; *p = old ^ v; return old; }                                   \
  inline T atomicExch(T* p, T v) { T old = *p; *p = v; return old; }                                        \
  inline T atomicCAS(T* p, T expected, T v) { T old = *p; if (old == expected) *p = v; return old; }
HEDDLE_ATOMICS(int) HEDDLE_ATOMICS(unsigned) HEDDLE_ATOMICS(unsigned long long)
#undef HEDDLE_ATOMICS
inline int atomicSub(int* p, int v) { return atomicAdd(p, -v); }
inline unsigned atomicSub(unsigned* p, unsigned v) { return atomicAdd(p, 0u - v); }
inline unsigned atomicInc(unsigned* p, unsigned v) { unsigned old = *p; *p = old >= v ? 0 : old + 1; return old; }

// ---- bits

template <class To, class From> To heddle_bits(From from) {
  static_assert(sizeof(To) == sizeof(From), "the same size");
  To to;
  memcpy(&to, &from, sizeof to);
  return to;
}
inline unsigned __float_as_uint(float x) { return heddle_bits<unsigned>(x); }
inline int __float_as_int(float x) { return heddle_bits<int>(x); }
inline float __uint_as_float(unsigned x) { return heddle_bits<float>(x); }
inline float __int_as_float(int x) { return heddle_bits<float>(x); }
inline long long __double_as_longlong(double x) { return heddle_bits<long long>(x); }
inline double __longlong_as_double(long long x) { return heddle_bits<double>(x); }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __clz(int x) { return x ? __builtin_clz(x) : 32; }
inline int __clzll(long long x) { return x ? __builtin_clzll(x) : 64; }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __ffsll(long long x) { return __builtin_ffsll(x); }
inline unsigned __brev(unsigned x) { unsigned r = 0; for (int i = 0; i < 32; i++) r |= (x >> i & 1) << (31 - i); return r; }
inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned) ((unsigned long long) a * b >> 32); }
inline int __mulhi(int a, int b) { return (int) ((long long) a * b >> 32); }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  return (unsigned long long) ((unsigned __int128) a * b >> 64);
}
inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned by) {
  return (unsigned) ((((unsigned long long) high << 32 | low) << (by & 31)) >> 32);
}
inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned by) {
  return (unsigned) (((unsigned long long) high << 32 | low) >> (by & 31));
}
inline unsigned __byte_perm(unsigned a, unsigned b, unsigned selector) {
  unsigned long long both = (unsigned long long) b << 32 | a;
  unsigned r = 0;
  for (int i = 0; i < 4; i++) r |= (unsigned) (both >> 8 * (selector >> 4 * i & 7) & 0xff) << 8 * i;
  return r;
}
template <class T> T __ldg(const T* p) { return *p; }
template <class T> T __ldcs(const T* p) { return *p; }
template <class T> T __ldcg(const T* p) { return *p; }
template <class T> void __stcs(T* p, T v) { *p = v; }
template <class T> void __stcg(T* p, T v) { *p = v; }

// ---- mathematics: the float and the double form of each function, and the overload for float

#define HEDDLE_MATH1(name)                                                                                  \
  extern "C" double name(double); extern "C" float name##f(float);                                          \
  inline float name(float x) { return name##f(x); }
#define HEDDLE_MATH2(name)                                                                                  \
  extern "C" double name(double, double); extern "C" float name##f(float, float);                           \
  inline float name(float x, float y) { return name##f(x, y); }
HEDDLE_MATH1(exp) HEDDLE_MATH1(exp2) HEDDLE_MATH1(exp10) HEDDLE_MATH1(expm1) HEDDLE_MATH1(log) HEDDLE_MATH1(log2)
HEDDLE_MATH1(log10) HEDDLE_MATH1(log1p) HEDDLE_MATH1(sqrt) HEDDLE_MATH1(cbrt) HEDDLE_MATH1(sin) HEDDLE_MATH1(cos)
HEDDLE_MATH1(tan) HEDDLE_MATH1(asin) HEDDLE_MATH1(acos) HEDDLE_MATH1(atan) HEDDLE_MATH1(sinh) HEDDLE_MATH1(cosh)
HEDDLE_MATH1(tanh) HEDDLE_MATH1(asinh) HEDDLE_MATH1(acosh) HEDDLE_MATH1(atanh) HEDDLE_MATH1(erf) HEDDLE_MATH1(erfc)
HEDDLE_MATH1(lgamma) HEDDLE_MATH1(tgamma) HEDDLE_MATH1(ceil) HEDDLE_MATH1(floor) HEDDLE_MATH1(trunc)
HEDDLE_MATH1(round) HEDDLE_MATH1(rint) HEDDLE_MATH1(nearbyint) HEDDLE_MATH1(fabs)
HEDDLE_MATH2(pow) HEDDLE_MATH2(fmod) HEDDLE_MATH2(atan2) HEDDLE_MATH2(hypot) HEDDLE_MATH2(copysign)
HEDDLE_MATH2(remainder) HEDDLE_MATH2(nextafter) HEDDLE_MATH2(fdim)
#undef HEDDLE_MATH1
#undef HEDDLE_MATH2
extern "C" double fma(double, double, double);
extern "C" float fmaf(float, float, float);
extern "C" double ldexp(double, int);
extern "C" float ldexpf(float, int);
extern "C" void sincosf(float, float*, float*);
extern "C" long long llrintf(float), llrint(double);
extern "C" long lrintf(float), lrint(double);
inline float fma(float x, float y, float z) { return fmaf(x, y, z); }
inline float fminf(float x, float y) { return y != y || x < y ? x : y; }       // a number where one of them is NaN
inline float fmaxf(float x, float y) { return y != y || x > y ? x : y; }
inline double fmin(double x, double y) { return y != y || x < y ? x : y; }
inline double fmax(double x, double y) { return y != y || x > y ? x : y; }
inline float fmin(float x, float y) { return fminf(x, y); }
inline float fmax(float x, float y) { return fmaxf(x, y); }
inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline double rsqrt(double x) { return 1.0 / sqrt(x); }
inline float rsqrt(float x) { return rsqrtf(x); }
inline float sinpif(float x) { return (float) sin(3.14159265358979323846 * (double) fmodf(x, 2.0f)); }
inline float cospif(float x) { return (float) cos(3.14159265358979323846 * (double) fmodf(x, 2.0f)); }
inline bool isnan(float x) { return __builtin_isnan(x); }
inline bool isnan(double x) { return __builtin_isnan(x); }
inline bool isinf(float x) { return __builtin_isinf(x); }
inline bool isinf(double x) { return __builtin_isinf(x); }
inline bool isfinite(float x) { return __builtin_isfinite(x); }
inline bool isfinite(double x) { return __builtin_isfinite(x); }
inline bool signbit(float x) { return __builtin_signbit(x); }
inline bool signbit(double x) { return __builtin_signbit(x); }
inline int abs(int x) { return x < 0 ? -x : x; }
inline long abs(long x) { return x < 0 ? -x : x; }
inline long long abs(long long x) { return x < 0 ? -x : x; }
inline float abs(float x) { return fabsf(x); }
inline double abs(double x) { return fabs(x); }
inline long long llabs(long long x) { return x < 0 ? -x : x; }

#define HEDDLE_LEAST(T, A, B)                                                                               \
  inline T min(A a, B b) { return (T) a < (T) b ? (T) a : (T) b; }                                          \
  inline T max(A a, B b) { return (T) a > (T) b ? (T) a : (T) b; }
HEDDLE_LEAST(int, int, int) HEDDLE_LEAST(unsigned, unsigned, unsigned) HEDDLE_LEAST(unsigned, int, unsigned)
HEDDLE_LEAST(unsigned, unsigned, int) HEDDLE_LEAST(long, long, long) HEDDLE_LEAST(unsigned long, unsigned long, unsigned long)
HEDDLE_LEAST(unsigned long, long, unsigned long) HEDDLE_LEAST(unsigned long, unsigned long, long)
HEDDLE_LEAST(long long, long long, long long)
HEDDLE_LEAST(unsigned long long, unsigned long long, unsigned long long)
HEDDLE_LEAST(unsigned long long, long long, unsigned long long)
HEDDLE_LEAST(unsigned long long, unsigned long long, long long)
#undef HEDDLE_LEAST
inline float min(float a, float b) { return fminf(a, b); }
inline float max(float a, float b) { return fmaxf(a, b); }
inline double min(double a, double b) { return fmin(a, b); }
inline double max(double a, double b) { return fmax(a, b); }
inline double min(float a, double b) { return fmin(a, b); }
inline double max(float a, double b) { return fmax(a, b); }
inline double min(double a, float b) { return fmin(a, b); }
inline double max(double a, float b) { return fmax(a, b); }

inline float __expf(float x) { return expf(x); }
inline float __exp10f(float x) { return exp10f(x); }
inline float __logf(float x) { return logf(x); }
inline float __log2f(float x) { return log2f(x); }
inline float __log10f(float x) { return log10f(x); }
inline float __powf(float x, float y) { return powf(x, y); }
inline float __sinf(float x) { return sinf(x); }
inline float __cosf(float x) { return cosf(x); }
inline float __tanf(float x) { return tanf(x); }
inline float __fdividef(float x, float y) { return x / y; }
inline float __saturatef(float x) { return x > 0 ? x < 1 ? x : 1 : 0; }
inline float __fadd_rn(float x, float y) { return x + y; }
inline float __fsub_rn(float x, float y) { return x - y; }
inline float __fmul_rn(float x, float y) { return x * y; }
inline float __fdiv_rn(float x, float y) { return x / y; }
inline float __fmaf_rn(float x, float y, float z) { return fmaf(x, y, z); }
inline float __fsqrt_rn(float x) { return sqrtf(x); }
inline float __frcp_rn(float x) { return 1.0f / x; }
inline float __frsqrt_rn(float x) { return (float) (1.0 / sqrt((double) x)); }
inline double __dadd_rn(double x, double y) { return x + y; }
inline double __dsub_rn(double x, double y) { return x - y; }
inline double __dmul_rn(double x, double y) { return x * y; }
inline double __ddiv_rn(double x, double y) { return x / y; }
inline double __dsqrt_rn(double x) { return sqrt(x); }
inline double __fma_rn(double x, double y, double z) { return fma(x, y, z); }

// Conversions saturate on a GPU, and NaN becomes 0; in C++ both are undefined.
template <class I, class F> I heddle_saturate(F x, I least, I most) {
  return x != x ? (I) 0 : x <= (F) least ? least : x >= (F) most ? most : (I) x;
}
inline int __float2int_rz(float x) { return heddle_saturate<int>(x, -2147483647 - 1, 2147483647); }
inline int __float2int_rn(float x) { return heddle_saturate<int>(rintf(x), -2147483647 - 1, 2147483647); }
inline int __float2int_rd(float x) { return heddle_saturate<int>(floorf(x), -2147483647 - 1, 2147483647); }
inline int __float2int_ru(float x) { return heddle_saturate<int>(ceilf(x), -2147483647 - 1, 2147483647); }
inline unsigned __float2uint_rz(float x) { return heddle_saturate<unsigned>(x, 0u, 4294967295u); }
inline unsigned __float2uint_rn(float x) { return heddle_saturate<unsigned>(rintf(x), 0u, 4294967295u); }
inline long long __float2ll_rz(float x) { return heddle_saturate<long long>(x, -9223372036854775807LL - 1, 9223372036854775807LL); }
inline long long __float2ll_rn(float x) { return heddle_saturate<long long>(rintf(x), -9223372036854775807LL - 1, 9223372036854775807LL); }
inline int __double2int_rz(double x) { return heddle_saturate<int>(x, -2147483647 - 1, 2147483647); }
inline int __double2int_rn(double x) { return heddle_saturate<int>(rint(x), -2147483647 - 1, 2147483647); }
inline long long __double2ll_rz(double x) { return heddle_saturate<long long>(x, -9223372036854775807LL - 1, 9223372036854775807LL); }
inline float __double2float_rn(double x) { return (float) x; }
inline float __int2float_rn(int x) { return (float) x; }
inline float __uint2float_rn(unsigned x) { return (float) x; }
inline float __ll2float_rn(long long x) { return (float) x; }
inline double __int2double_rn(int x) { return x; }

// ---- the table of kernels: the NVRTC stand-in appends one entry for each that it found

template <class F> struct HeddleSignature;
template <class... A> struct HeddleSignature<void (*)(A...)> {
  static constexpr unsigned count = sizeof...(A);
  template <void (*kernel)(A...), unsigned... I> __attribute__((no_sanitize("kernel-address"))) static void apply(void** p) {
    kernel(*(A*) p[I]...);
  }
  template <void (*kernel)(A...)> static void run(void** p) { apply<kernel, __integer_pack(sizeof...(A))...>(p); }
  struct Layout { StandInParameter at[sizeof...(A) + 1]; };
  static constexpr Layout layout() {
    Layout l{};
    unsigned i = 0, end = 0, size[] = {sizeof(A)..., 0}, align[] = {alignof(A)..., 1};
    for (; i < sizeof...(A); i++) {
      unsigned offset = (end + align[i] - 1) / align[i] * align[i];
      l.at[i] = {offset, size[i]};
      end = offset + size[i];
    }
    l.at[i] = {end, 0};
    return l;
  }
  static constexpr Layout parameters = layout();
};
#define HEDDLE_KERNEL(name, max_threads)                                                                    \
  {#name, HeddleSignature<decltype(&name)>::run<&name>, HeddleSignature<decltype(&name)>::parameters.at,    \
   HeddleSignature<decltype(&name)>::count, (unsigned) (max_threads)}
