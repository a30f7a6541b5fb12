// Elements of the library stand-ins by their type, which cuBLASLt and cuDNN number alike, except bf16. The 16-bit floats, as
// bits: to a double exactly, from a float to the nearest, ties to even.
#pragma once
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

enum { F32 = 0, F64 = 1, F16 = 2 };   // and BF16, which each library defines

static inline double from_bf16(uint16_t h) {
  uint32_t bits = (uint32_t) h << 16;
  float f;
  memcpy(&f, &bits, 4);
  return f;
}

static inline double from_f16(uint16_t h) {
  int e = h >> 10 & 31, m = h & 1023;
  double v = e == 31 ? (m ? NAN : INFINITY) : e ? std::ldexp(1024 + m, e - 25) : std::ldexp(m, -24);
  return h & 0x8000 ? -v : v;
}

static inline uint16_t to_bf16(float f) {
  uint32_t bits;
  memcpy(&bits, &f, 4);
  return f != f ? 0x7fff : (uint16_t) ((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static inline uint16_t to_f16(float f) {
  uint32_t bits;
  memcpy(&bits, &f, 4);
  uint32_t sign = bits >> 16 & 0x8000, rest = bits & 0x7fffffff;
  if (f != f) return 0x7fff;
  if (rest >= 0x47800000) return (uint16_t) (sign | 0x7c00);
  if (rest < 0x38800000) return (uint16_t) (sign | (uint32_t) std::nearbyint(std::ldexp(std::fabs((double) f), 24)));
  return (uint16_t) (sign | (rest - 0x38000000 + 0xfff + (rest >> 13 & 1)) >> 13);
}

static inline size_t bytes_of(int type) { return type == F64 ? 8 : type == F32 ? 4 : 2; }

static inline double load(const char* p, int type, int64_t i) {
  switch (type) {
    case F64: return ((const double*) p)[i];
    case F32: return ((const float*) p)[i];
    case F16: return from_f16(((const uint16_t*) p)[i]);
    default: return from_bf16(((const uint16_t*) p)[i]);
  }
}

static inline void store(char* p, int type, int64_t i, double v) {
  switch (type) {
    case F64: ((double*) p)[i] = v; break;
    case F32: ((float*) p)[i] = (float) v; break;
    case F16: ((uint16_t*) p)[i] = to_f16((float) v); break;
    default: ((uint16_t*) p)[i] = to_bf16((float) v);
  }
}
