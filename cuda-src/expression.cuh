// What generated kernels are made of: the functions of dev.heddle.engine.op.Expr, with its rules for NaN, zero divisors and
// conversions, and the loads and stores of every dtype. 16-bit floats are computed in f32.
#ifndef HEDDLE_EXPRESSION_CUH
#define HEDDLE_EXPRESSION_CUH

typedef double f64;
typedef int64_t i64;
typedef int32_t i32;
typedef uint8_t u8;

/// The type a dtype is computed in.
__device__ __forceinline__ float widen(bf16 x) { return to_float(x); }
__device__ __forceinline__ float widen(f16 x) { return to_float(x); }
template <class T> __device__ __forceinline__ T widen(T x) { return x; }

/// A computed value as it is stored.
template <class T, class C> __device__ __forceinline__ T narrow(C x) { return static_cast<T>(x); }
template <> __device__ __forceinline__ bf16 narrow<bf16, float>(float x) { return to_bf16(x); }
template <> __device__ __forceinline__ f16 narrow<f16, float>(float x) { return to_f16(x); }

template <class T> __device__ __forceinline__ T minimum(T a, T b) { return b < a ? b : a; }
template <class T> __device__ __forceinline__ T maximum(T a, T b) { return a < b ? b : a; }
__device__ __forceinline__ float minimum(float a, float b) { return a != a ? a : b != b ? b : fminf(a, b); }
__device__ __forceinline__ float maximum(float a, float b) { return a != a ? a : b != b ? b : fmaxf(a, b); }
__device__ __forceinline__ double minimum(double a, double b) { return a != a ? a : b != b ? b : fmin(a, b); }
__device__ __forceinline__ double maximum(double a, double b) { return a != a ? a : b != b ? b : fmax(a, b); }

template <class T> __device__ __forceinline__ T sign(T x) { return x > T(0) ? T(1) : x < T(0) ? T(-1) : x; }

/// Division of integers truncates, and by zero gives zero; the remainder has the sign of the divisor.
template <class T> __device__ __forceinline__ T divide(T a, T b) {
    return b == T(0) ? T(0) : b == T(-1) ? T(-static_cast<uint64_t>(a)) : T(a / b);
}
template <> __device__ __forceinline__ u8 divide<u8>(u8 a, u8 b) { return b == 0 ? 0 : a / b; }
template <class T> __device__ __forceinline__ T remainder_of(T a, T b) {
    if (b == T(0) || b == T(-1)) {
        return T(0);
    }
    T r = a % b;
    return r != T(0) && ((r < T(0)) != (b < T(0))) ? T(r + b) : r;
}
template <> __device__ __forceinline__ u8 remainder_of<u8>(u8 a, u8 b) { return b == 0 ? 0 : a % b; }
__device__ __forceinline__ float remainder_of(float a, float b) {
    float r = fmodf(a, b);
    return r != 0 && ((r < 0) != (b < 0)) ? r + b : r;
}
__device__ __forceinline__ double remainder_of(double a, double b) {
    double r = fmod(a, b);
    return r != 0 && ((r < 0) != (b < 0)) ? r + b : r;
}

/// Integers wrap around; these work on the unsigned numbers, where C++ says so.
__device__ __forceinline__ i64 wrap_add(i64 a, i64 b) { return static_cast<i64>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b)); }
__device__ __forceinline__ i32 wrap_add(i32 a, i32 b) { return static_cast<i32>(static_cast<uint32_t>(a) + static_cast<uint32_t>(b)); }
__device__ __forceinline__ u8 wrap_add(u8 a, u8 b) { return static_cast<u8>(a + b); }
__device__ __forceinline__ i64 wrap_sub(i64 a, i64 b) { return static_cast<i64>(static_cast<uint64_t>(a) - static_cast<uint64_t>(b)); }
__device__ __forceinline__ i32 wrap_sub(i32 a, i32 b) { return static_cast<i32>(static_cast<uint32_t>(a) - static_cast<uint32_t>(b)); }
__device__ __forceinline__ u8 wrap_sub(u8 a, u8 b) { return static_cast<u8>(a - b); }
__device__ __forceinline__ i64 wrap_mul(i64 a, i64 b) { return static_cast<i64>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b)); }
__device__ __forceinline__ i32 wrap_mul(i32 a, i32 b) { return static_cast<i32>(static_cast<uint32_t>(a) * static_cast<uint32_t>(b)); }
__device__ __forceinline__ u8 wrap_mul(u8 a, u8 b) { return static_cast<u8>(a * b); }

/// To an integer: towards zero, saturating, NaN to zero; between integers the low bits stay; to u8 by way of i32.
template <class T> __device__ __forceinline__ i64 to_i64(T x) { return static_cast<i64>(x); }
template <class T> __device__ __forceinline__ i32 to_i32(T x) { return static_cast<i32>(x); }
__device__ __forceinline__ i64 to_i64(double x) {
    return x != x ? 0 : x >= 0x1p63 ? 0x7fffffffffffffffll : x < -0x1p63 ? -0x7fffffffffffffffll - 1 : static_cast<i64>(x);
}
__device__ __forceinline__ i64 to_i64(float x) { return to_i64(static_cast<double>(x)); }
__device__ __forceinline__ i32 to_i32(double x) {
    return x != x ? 0 : x >= 0x1p31 ? 0x7fffffff : x < -0x1p31 ? -0x7fffffff - 1 : static_cast<i32>(x);
}
__device__ __forceinline__ i32 to_i32(float x) { return to_i32(static_cast<double>(x)); }

#endif
