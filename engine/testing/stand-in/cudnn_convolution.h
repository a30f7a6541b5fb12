// The stand-in's convolutions as sums of products, on values in the order of the dimensions.
#pragma once
#include <algorithm>
#include "cudnn.h"

namespace {

/** One convolution of three spatial dimensions, the first of size 1 if there are two. */
struct Shape {
  bool flipped, tf32;
  int64_t n, groups, c, k;                     // channels of a group
  int64_t in[3], out[3], taps[3], pad[3], stride[3], dilation[3];
};

/** The values of an input or filter as they are multiplied: floats lose 13 bits where tensor cores may have them as tf32. */
std::vector<double> operand(const Shape& s, const Tensor& t, const char* p) {
  std::vector<double> values = read(t, p);
  if (s.tf32) for (double& v : values) {
    float f = (float) v;
    uint32_t bits;
    memcpy(&bits, &f, 4);
    if (f - f != 0) continue;                  // infinite, or not a number
    bits = (bits + 0xfff + (bits >> 13 & 1)) & ~0x1fffu;
    memcpy(&f, &bits, 4);
    v = f;
  }
  return values;
}

/** Calls `f(x, w, y, count, step)` for each row of products: `w` with `count` of `y`, next to each other, and of `x`, `step` apart. */
template <class F> void rows(const Shape& s, F f) {
  int64_t in = s.in[0] * s.in[1] * s.in[2], out = s.out[0] * s.out[1] * s.out[2], taps = s.taps[0] * s.taps[1] * s.taps[2];
  for (int64_t n = 0; n < s.n; n++) for (int64_t k = 0; k < s.groups * s.k; k++) for (int64_t c = 0; c < s.c; c++) {
    int64_t x = (n * s.groups * s.c + k / s.k * s.c + c) * in, y = (n * s.groups * s.k + k) * out;
    for (int64_t tap = 0; tap < taps; tap++) {
      int64_t w = (k * s.c + c) * taps + (s.flipped ? taps - 1 - tap : tap);
      int64_t at[3] = {tap / (s.taps[1] * s.taps[2]), tap / s.taps[2] % s.taps[1], tap % s.taps[2]}, first[3], last[3];
      for (int d = 0; d < 3; d++) {            // outputs whose input is not padding: 0 <= o stride + at < in
        at[d] = at[d] * s.dilation[d] - s.pad[d];
        first[d] = at[d] < 0 ? (-at[d] + s.stride[d] - 1) / s.stride[d] : 0;
        last[d] = s.in[d] > at[d] ? std::min(s.out[d], (s.in[d] - at[d] - 1) / s.stride[d] + 1) : 0;
      }
      if (first[2] >= last[2]) continue;
      for (int64_t a = first[0]; a < last[0]; a++) for (int64_t b = first[1]; b < last[1]; b++)
        f(x + ((a * s.stride[0] + at[0]) * s.in[1] + b * s.stride[1] + at[1]) * s.in[2] + first[2] * s.stride[2] + at[2], w,
          y + (a * s.out[1] + b) * s.out[2] + first[2], last[2] - first[2], s.stride[2]);
    }
  }
}

std::vector<double> forward(const Shape& s, const std::vector<double>& x, const std::vector<double>& w, int64_t count) {
  std::vector<double> y(count);
  rows(s, [&](int64_t xi, int64_t wi, int64_t yi, int64_t n, int64_t step) {
    const double factor = w[wi], *from = &x[xi];
    double* to = &y[yi];
    if (step == 1) for (int64_t i = 0; i < n; i++) to[i] += factor * from[i];
    else for (int64_t i = 0; i < n; i++) to[i] += factor * from[i * step];
  });
  return y;
}

std::vector<double> backward_data(const Shape& s, const std::vector<double>& w, const std::vector<double>& dy, int64_t count) {
  std::vector<double> dx(count);
  rows(s, [&](int64_t xi, int64_t wi, int64_t yi, int64_t n, int64_t step) {
    const double factor = w[wi], *from = &dy[yi];
    double* to = &dx[xi];
    if (step == 1) for (int64_t i = 0; i < n; i++) to[i] += factor * from[i];
    else for (int64_t i = 0; i < n; i++) to[i * step] += factor * from[i];
  });
  return dx;
}

std::vector<double> backward_filter(const Shape& s, const std::vector<double>& x, const std::vector<double>& dy, int64_t count) {
  std::vector<double> dw(count);
  rows(s, [&](int64_t xi, int64_t wi, int64_t yi, int64_t n, int64_t step) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += x[xi + i * step] * dy[yi + i];
    dw[wi] += sum;
  });
  return dw;
}

}  // namespace
