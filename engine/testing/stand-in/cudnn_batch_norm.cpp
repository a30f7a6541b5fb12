// The stand-in's batch normalization, over all dimensions but the channels (the spatial modes).
#include "cudnn.h"

namespace {

enum { SPATIAL = 1, SPATIAL_PERSISTENT = 2 };

/** Calls `f` with the channel of each element, in order. */
template <class F> void channels(const Tensor& t, F f) {
  int64_t inner = t.count() / (t.size[0] * t.size[1]), i = 0;
  for (int64_t n = 0; n < t.size[0]; n++) for (int64_t c = 0; c < t.size[1]; c++) for (int64_t j = 0; j < inner; j++) f(i++, c);
}

struct Statistics { std::vector<double> mean, variance; };

Statistics statistics(const Tensor& t, const std::vector<double>& x) {
  Statistics s = {std::vector<double>(t.size[1]), std::vector<double>(t.size[1])};
  double count = (double) (t.count() / t.size[1]);
  channels(t, [&](int64_t i, int64_t c) { s.mean[c] += x[i] / count; });
  channels(t, [&](int64_t i, int64_t c) { s.variance[c] += (x[i] - s.mean[c]) * (x[i] - s.mean[c]) / count; });
  return s;
}

int judge(int mode, const void* alpha, const void* beta, const Tensor* x, const Tensor* y, const Tensor* stats, double epsilon) {
  if (!live(x, "xDesc") || !live(y, "the descriptor of y or dy") || !live(stats, "bnScaleBiasMeanVarDesc")) return BAD_PARAM;
  if (!alpha || !beta) return fail(BAD_PARAM, "an alpha or beta is null");
  if (mode != SPATIAL && mode != SPATIAL_PERSISTENT) return fail(NOT_SUPPORTED, "the stand-in has no mode %d", mode);
  if (x->n != 4 && x->n != 5) return fail(BAD_PARAM, "%d dimensions", x->n);
  if (!x->same_sizes(*y) || x->type != y->type) return fail(BAD_PARAM, "the tensors differ in sizes or type");
  if (stats->n != x->n || stats->type != (x->type == F64 ? F64 : F32))
    return fail(BAD_PARAM, "the statistics have %d dimensions and type %d", stats->n, stats->type);
  for (int i = 0; i < x->n; i++)
    if (stats->size[i] != (i == 1 ? x->size[1] : 1)) return fail(BAD_PARAM, "the statistics do not have the sizes (1, C, 1, 1)");
  if (!(epsilon >= 0)) return fail(BAD_PARAM, "an epsilon of %g", epsilon);
  CHECK(positive_strides(*x, "x"));
  return positive_strides(*y, "y or dy");
}

int both(const Tensor& t, const char* first, const char* second, const char* name) {
  if (!first != !second) return fail(BAD_PARAM, "only one of the %s is null", name);
  if (!first) return OK;
  CHECK(in_memory(t, first, name));
  return in_memory(t, second, name);
}

}  // namespace

API int cudnnBatchNormalizationForwardTraining(Handle* handle, int mode, const void* alpha, const void* beta,
                                               const Tensor* x_desc, const char* x, const Tensor* y_desc, char* y,
                                               const Tensor* stats, const char* scale, const char* bias, double average,
                                               char* running_mean, char* running_variance, double epsilon, char* saved_mean,
                                               char* saved_inverse) {
  BEGIN();
  LIVE(handle);
  CHECK(judge(mode, alpha, beta, x_desc, y_desc, stats, epsilon));
  CHECK(in_memory(*x_desc, x, "x"));
  CHECK(in_memory(*y_desc, y, "y"));
  CHECK(in_memory(*stats, scale, "the scale"));
  CHECK(in_memory(*stats, bias, "the bias"));
  CHECK(both(*stats, running_mean, running_variance, "running statistics"));
  CHECK(both(*stats, saved_mean, saved_inverse, "saved statistics"));
  double a = factor(alpha, x_desc->type), b = factor(beta, x_desc->type);
  return submit(handle, [=, xt = *x_desc, yt = *y_desc, st = *stats] {
    std::vector<double> v = read(xt, x), g = read(st, scale), shift = read(st, bias), inverse(st.size[1]);
    Statistics s = statistics(xt, v);
    for (size_t c = 0; c < inverse.size(); c++) inverse[c] = 1 / std::sqrt(s.variance[c] + epsilon);
    channels(xt, [&](int64_t i, int64_t c) { v[i] = (v[i] - s.mean[c]) * inverse[c] * g[c] + shift[c]; });
    write(yt, y, v.data(), a, b);
    if (saved_mean) {
      write(st, saved_mean, s.mean.data(), 1, 0);
      write(st, saved_inverse, inverse.data(), 1, 0);
    }
    if (running_mean) {
      double count = (double) (xt.count() / xt.size[1]);
      for (double& variance : s.variance) variance *= count / (count > 1 ? count - 1 : 1);
      write(st, running_mean, s.mean.data(), average, 1 - average);
      write(st, running_variance, s.variance.data(), average, 1 - average);
    }
  });
}

API int cudnnBatchNormalizationForwardInference(Handle* handle, int mode, const void* alpha, const void* beta,
                                                const Tensor* x_desc, const char* x, const Tensor* y_desc, char* y,
                                                const Tensor* stats, const char* scale, const char* bias, const char* mean,
                                                const char* variance, double epsilon) {
  BEGIN();
  LIVE(handle);
  CHECK(judge(mode, alpha, beta, x_desc, y_desc, stats, epsilon));
  CHECK(in_memory(*x_desc, x, "x"));
  CHECK(in_memory(*y_desc, y, "y"));
  CHECK(in_memory(*stats, scale, "the scale"));
  CHECK(in_memory(*stats, bias, "the bias"));
  CHECK(in_memory(*stats, mean, "the mean"));
  CHECK(in_memory(*stats, variance, "the variance"));
  double a = factor(alpha, x_desc->type), b = factor(beta, x_desc->type);
  return submit(handle, [=, xt = *x_desc, yt = *y_desc, st = *stats] {
    std::vector<double> v = read(xt, x), g = read(st, scale), shift = read(st, bias), m = read(st, mean), s = read(st, variance);
    channels(xt, [&](int64_t i, int64_t c) { v[i] = (v[i] - m[c]) / std::sqrt(s[c] + epsilon) * g[c] + shift[c]; });
    write(yt, y, v.data(), a, b);
  });
}

API int cudnnBatchNormalizationBackward(Handle* handle, int mode, const void* alpha_data, const void* beta_data,
                                        const void* alpha_param, const void* beta_param, const Tensor* x_desc, const char* x,
                                        const Tensor* dy_desc, const char* dy, const Tensor* dx_desc, char* dx,
                                        const Tensor* stats, const char* scale, char* dscale, char* dbias, double epsilon,
                                        const char* saved_mean, const char* saved_inverse) {
  BEGIN();
  LIVE(handle);
  CHECK(judge(mode, alpha_data, beta_data, x_desc, dy_desc, stats, epsilon));
  CHECK(judge(mode, alpha_param, beta_param, x_desc, dx_desc, stats, epsilon));
  CHECK(in_memory(*x_desc, x, "x"));
  CHECK(in_memory(*dy_desc, dy, "dy"));
  CHECK(in_memory(*dx_desc, dx, "dx"));
  CHECK(in_memory(*stats, scale, "the scale"));
  CHECK(in_memory(*stats, dscale, "the scale's gradient"));
  CHECK(in_memory(*stats, dbias, "the bias's gradient"));
  CHECK(both(*stats, saved_mean, saved_inverse, "saved statistics"));
  double a = factor(alpha_data, x_desc->type), b = factor(beta_data, x_desc->type);
  double ap = factor(alpha_param, x_desc->type), bp = factor(beta_param, x_desc->type);
  return submit(handle, [=, xt = *x_desc, dyt = *dy_desc, dxt = *dx_desc, st = *stats] {
    std::vector<double> v = read(xt, x), up = read(dyt, dy), g = read(st, scale), mean, inverse;
    if (saved_mean) {
      mean = read(st, saved_mean);
      inverse = read(st, saved_inverse);
    } else {
      Statistics s = statistics(xt, v);
      mean = s.mean;
      for (double variance : s.variance) inverse.push_back(1 / std::sqrt(variance + epsilon));
    }
    double count = (double) (xt.count() / xt.size[1]);
    std::vector<double> sum(g.size()), product(g.size());
    channels(xt, [&](int64_t i, int64_t c) {
      v[i] = (v[i] - mean[c]) * inverse[c];
      sum[c] += up[i];
      product[c] += up[i] * v[i];
    });
    channels(xt, [&](int64_t i, int64_t c) { v[i] = g[c] * inverse[c] * (up[i] - sum[c] / count - v[i] * product[c] / count); });
    write(dxt, dx, v.data(), a, b);
    write(st, dscale, product.data(), ap, bp);
    write(st, dbias, sum.data(), ap, bp);
  });
}
