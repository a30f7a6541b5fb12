// The stand-in's pooling. The gradient of a maximum goes to the first element of the window that equals `y`.
#include "cudnn.h"

namespace {

enum { MAX = 0, AVERAGE_WITH_PADDING = 1, AVERAGE_WITHOUT_PADDING = 2, MAX_DETERMINISTIC = 3 };

struct Pooling : Object {
  static const Kind KIND = POOLING;
  int n, mode, nan;
  int window[DIM_MAX], pad[DIM_MAX], stride[DIM_MAX];
  bool maximum() const { return mode == MAX || mode == MAX_DETERMINISTIC; }
};

/** The elements of one window within a channel, in order, and the divisor of their average. */
struct Window {
  std::vector<int64_t> elements;
  double divisor;
};

/** The window of each output of a channel. */
std::vector<Window> windows(const Pooling& p, const Tensor& x, const Tensor& y) {
  int64_t outputs = y.count() / (y.size[0] * y.size[1]), taps = 1;
  for (int d = 0; d < p.n; d++) taps *= p.window[d];
  std::vector<Window> all(outputs);
  for (int64_t o = 0; o < outputs; o++) {
    for (int64_t tap = 0; tap < taps; tap++) {
      int64_t rest_o = o, rest_tap = tap, index = 0, product = 1;
      bool inside = true;
      for (int d = p.n - 1; d >= 0; d--) {
        int64_t i = rest_o % y.size[2 + d] * p.stride[d] - p.pad[d] + rest_tap % p.window[d];
        rest_o /= y.size[2 + d];
        rest_tap /= p.window[d];
        inside &= i >= 0 && i < x.size[2 + d];
        index += i * product;
        product *= x.size[2 + d];
      }
      if (inside) all[o].elements.push_back(index);
    }
    all[o].divisor = p.mode == AVERAGE_WITH_PADDING ? (double) taps : (double) all[o].elements.size();
  }
  return all;
}

double pool(const Pooling& p, const Window& w, const double* x) {
  double result = p.maximum() ? -INFINITY : 0;
  for (int64_t i : w.elements) {
    if (!p.maximum()) result += x[i] / w.divisor;
    else if (p.nan ? !(x[i] <= result) && result == result : x[i] > result) result = x[i];
  }
  return result;
}

int judge(const Pooling* p, const Tensor* x, const Tensor* y) {
  if (!live(p, "poolingDesc") || !live(x, "the input's descriptor") || !live(y, "the output's descriptor")) return BAD_PARAM;
  if (x->type != y->type) return fail(BAD_PARAM, "types: input %d, output %d", x->type, y->type);
  if (x->n != y->n || x->n != p->n + 2 || x->size[0] != y->size[0] || x->size[1] != y->size[1])
    return fail(BAD_PARAM, "input and output differ in dimensions, N or C, or the pooling in dimensions");
  for (int d = 0; d < p->n; d++) {
    int64_t room = x->size[2 + d] + 2 * p->pad[d] - p->window[d];
    if (room < 0 || y->size[2 + d] != room / p->stride[d] + 1)
      return fail(BAD_PARAM, "spatial dimension %d: %lld outputs of %lld inputs", d, (long long) y->size[2 + d], (long long) x->size[2 + d]);
  }
  CHECK(positive_strides(*x, "the input"));
  return positive_strides(*y, "the output");
}

}  // namespace

API int cudnnCreatePoolingDescriptor(Pooling** out) { BEGIN(); return create(out); }
API int cudnnDestroyPoolingDescriptor(Pooling* p) { BEGIN(); return destroy(p); }
API int cudnnSetPoolingNdDescriptor(Pooling* pooling, int mode, int nan, int n, const int* window, const int* pad, const int* stride) {
  BEGIN();
  if (!live(pooling, "poolingDesc", false)) return BAD_PARAM;
  if (mode < 0 || mode > MAX_DETERMINISTIC || nan < 0 || nan > 1) return fail(BAD_PARAM, "mode %d, NaN propagation %d", mode, nan);
  if (!window || !pad || !stride || n < 1) return fail(BAD_PARAM, "%d dimensions, or no window, padding or stride", n);
  if (n != 2 && n != 3) return fail(NOT_SUPPORTED, "%d spatial dimensions", n);
  for (int d = 0; d < n; d++) {
    if (window[d] < 1 || stride[d] < 1 || pad[d] < 0 || pad[d] >= window[d])
      return fail(BAD_PARAM, "spatial dimension %d: window %d, padding %d, stride %d", d, window[d], pad[d], stride[d]);
  }
  for (int d = 0; d < n; d++) {
    pooling->window[d] = window[d];
    pooling->pad[d] = pad[d];
    pooling->stride[d] = stride[d];
  }
  pooling->n = n;
  pooling->mode = mode;
  pooling->nan = nan;
  pooling->set = true;
  return OK;
}

API int cudnnPoolingForward(Handle* handle, const Pooling* pooling, const void* alpha, const Tensor* x_desc, const char* x,
                            const void* beta, const Tensor* y_desc, char* y) {
  BEGIN();
  LIVE(handle);
  CHECK(judge(pooling, x_desc, y_desc));
  if (!alpha || !beta) return fail(BAD_PARAM, "alpha or beta is null");
  CHECK(in_memory(*x_desc, x, "x"));
  CHECK(in_memory(*y_desc, y, "y"));
  double a = factor(alpha, x_desc->type), b = factor(beta, x_desc->type);
  return submit(handle, [=, p = *pooling, xt = *x_desc, yt = *y_desc] {
    std::vector<double> in = read(xt, x), out;
    std::vector<Window> all = windows(p, xt, yt);
    int64_t channels = xt.size[0] * xt.size[1], size = xt.count() / channels;
    for (int64_t c = 0; c < channels; c++) for (const Window& w : all) out.push_back(pool(p, w, &in[c * size]));
    write(yt, y, out.data(), a, b);
  });
}

API int cudnnPoolingBackward(Handle* handle, const Pooling* pooling, const void* alpha, const Tensor* y_desc, const char* y,
                             const Tensor* dy_desc, const char* dy, const Tensor* x_desc, const char* x, const void* beta,
                             const Tensor* dx_desc, char* dx) {
  BEGIN();
  LIVE(handle);
  CHECK(judge(pooling, x_desc, y_desc));
  CHECK(judge(pooling, dx_desc, dy_desc));
  if (!alpha || !beta) return fail(BAD_PARAM, "alpha or beta is null");
  if (!y_desc->same_sizes(*dy_desc) || !x_desc->same_sizes(*dx_desc) || x_desc->type != dx_desc->type)
    return fail(BAD_PARAM, "y and dy, or x and dx, differ in sizes or type");
  CHECK(in_memory(*y_desc, y, "y"));
  CHECK(in_memory(*dy_desc, dy, "dy"));
  CHECK(in_memory(*x_desc, x, "x"));
  CHECK(in_memory(*dx_desc, dx, "dx"));
  double a = factor(alpha, x_desc->type), b = factor(beta, x_desc->type);
  return submit(handle, [=, p = *pooling, yt = *y_desc, dyt = *dy_desc, xt = *x_desc, dxt = *dx_desc] {
    std::vector<double> out = read(yt, y), g = read(dyt, dy), in = read(xt, x), result(in.size());
    std::vector<Window> all = windows(p, xt, yt);
    int64_t channels = xt.size[0] * xt.size[1], size = xt.count() / channels, o = 0;
    for (int64_t c = 0; c < channels; c++) for (const Window& w : all) {
      for (int64_t i : w.elements) {
        int64_t at = c * size + i;
        if (!p.maximum()) result[at] += g[o] / w.divisor;
        else if (in[at] == out[o] || (in[at] != in[at] && out[o] != out[o])) { result[at] += g[o]; break; }
      }
      o++;
    }
    write(dxt, dx, result.data(), a, b);
  });
}
