// The 16-bit floats of the library stand-ins, as bits. To a double exactly; from a float to the nearest, ties to even.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

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
