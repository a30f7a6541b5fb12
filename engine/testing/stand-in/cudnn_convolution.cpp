// The stand-in's convolutions. Each direction has three algorithms: one without a workspace (backward, it says that it is not
// deterministic), one with a workspace that depends on the shapes, and one that can do few shapes.
#include "cudnn_convolution.h"

namespace {

enum Direction { FORWARD, BACKWARD_DATA, BACKWARD_FILTER };
enum { CONVOLUTION = 0, CROSS_CORRELATION = 1 };
enum { DEFAULT_MATH = 0, FMA_MATH = 3 };
enum { RELU = 1, IDENTITY = 5 };
const int MAX_SPATIAL = 3, PRECOMP_GEMM = 1;
/** In the order of the heuristic. */
const int ALGORITHMS[3][3] = {{1, 0, 7}, {0, 1, 5}, {0, 1, 5}}, WINOGRAD[3] = {7, 5, 5}, ALGORITHM_COUNT[3] = {8, 6, 7};

struct Convolution : Object {
  static const Kind KIND = CONVOLUTION;
  int n, mode, type, math, groups;
  int pad[MAX_SPATIAL], stride[MAX_SPATIAL], dilation[MAX_SPATIAL];
};

struct Perf {
  int algo, status;
  float time;
  size_t memory;
  int determinism, math, reserved[3];
};
static_assert(sizeof(Perf) == 48, "cudnnConvolutionFwdAlgoPerf_t");

// ---- what cuDNN accepts

/** Whether the strides are exactly those of NHWC, of dimensions of size 1 too: cuDNN reads the format from them. */
bool channels_last(const Tensor& t) {
  int64_t product = t.size[1];
  for (int i = t.n - 1; i > 1; product *= t.size[i], i--) if (t.stride[i] != product) return false;
  return t.stride[1] == 1 && t.stride[0] == product;
}

int judge(const Tensor* x, const Filter* filter, const Convolution* conv, const Tensor* y, Shape& s) {
  if (!live(x, "the input's descriptor") || !live(filter, "the filter's descriptor") || !live(conv, "convDesc")
      || !live(y, "the output's descriptor")) return BAD_PARAM;
  const Tensor& w = filter->tensor;
  int n = conv->n;
  if (x->n != y->n || x->n != w.n || x->n != n + 2)
    return fail(BAD_PARAM, "dimensions: input %d, filter %d, output %d, convolution %d", x->n, w.n, y->n, n);
  if (x->type != y->type || x->type != w.type) return fail(BAD_PARAM, "types: input %d, filter %d, output %d", x->type, w.type, y->type);
  int groups = conv->groups;
  if (x->size[1] != w.size[1] * groups || w.size[0] % groups)
    return fail(BAD_PARAM, "%lld input channels, filters of %lld to %lld, %d groups", (long long) x->size[1],
                (long long) w.size[1], (long long) w.size[0], groups);
  if (y->size[1] != w.size[0] || y->size[0] != x->size[0])
    return fail(BAD_PARAM, "an output of (%lld, %lld, ...) from %lld inputs and %lld filters", (long long) y->size[0],
                (long long) y->size[1], (long long) x->size[0], (long long) w.size[0]);
  if (n < 2 || n > MAX_SPATIAL) return fail(NOT_SUPPORTED, "%d spatial dimensions", n);
  s = {conv->mode == CONVOLUTION, x->type == F32 && conv->math != FMA_MATH, x->size[0], groups, w.size[1], w.size[0] / groups, {1, 1, 1}, {1, 1, 1}, {1, 1, 1},
       {0, 0, 0}, {1, 1, 1}, {1, 1, 1}};
  for (int i = 0, d = MAX_SPATIAL - n; i < n; i++, d++) {
    s.in[d] = x->size[2 + i];
    s.out[d] = y->size[2 + i];
    s.taps[d] = w.size[2 + i];
    s.pad[d] = conv->pad[i];
    s.stride[d] = conv->stride[i];
    s.dilation[d] = conv->dilation[i];
    int64_t room = s.in[d] + 2 * s.pad[d] - (s.dilation[d] * (s.taps[d] - 1) + 1);
    if (room < 0) return fail(BAD_PARAM, "spatial dimension %d: the filter is larger than the padded input", i);
    if (s.out[d] != room / s.stride[d] + 1)
      return fail(NOT_SUPPORTED, "spatial dimension %d: the output has size %lld and not %lld", i, (long long) s.out[d],
                  (long long) (room / s.stride[d] + 1));
  }
  CHECK(positive_strides(*x, "the input"));
  CHECK(positive_strides(*y, "the output"));
  bool type = x->type == F64 ? conv->type == F64 : conv->type == F32 || (x->type == F16 && conv->type == F16);
  if (!type) return fail(NOT_SUPPORTED, "tensors of type %d, computed in type %d", x->type, conv->type);
  if (filter->format == NHWC) {
    if (x->type == F64) return fail(NOT_SUPPORTED, "NHWC filters of doubles");
    if (!channels_last(*x) || !channels_last(*y)) return fail(NOT_SUPPORTED, "NHWC filters with tensors that are not packed NHWC");
  }
  return OK;
}

/** Whether an algorithm can do a convolution, and what it needs. */
bool capable(Direction way, int algo, const Tensor* x, const Filter* w, const Shape& s, size_t& workspace) {
  workspace = 0;
  if (algo == WINOGRAD[way]) {
    bool small = s.in[0] == 1 && w->format == NCHW && s.groups == 1 && (x->type == F32 || x->type == F16);
    for (int d = 1; d < 3; d++) small &= s.taps[d] == 3 && s.stride[d] == 1 && s.dilation[d] == 1 && s.pad[d] <= 1;
    workspace = 16 * 4 * (s.c * s.k + (s.c + s.k) * s.n);
    return small;
  }
  if (algo == 1) workspace = (8 * s.out[0] * s.out[1] * s.out[2] * s.taps[0] * s.taps[1] * s.taps[2] + 255) / 256 * 256;
  return algo == 0 || algo == 1;
}

int needed(Direction way, int algo, const Tensor* x, const Filter* w, const Shape& s, size_t& bytes) {
  if (algo < 0 || algo >= ALGORITHM_COUNT[way]) return fail(BAD_PARAM, "there is no algorithm %d", algo);
  return capable(way, algo, x, w, s, bytes) ? OK : fail(NOT_SUPPORTED, "algorithm %d cannot do this convolution", algo);
}

/** Checks the workspace; `bytes` becomes what the algorithm uses of it. */
int workspace_of(Direction way, int algo, const Tensor* x, const Filter* w, const Shape& s, char* workspace, size_t given,
                 size_t& bytes) {
  CHECK(needed(way, algo, x, w, s, bytes));
  if (given < bytes) return fail(BAD_PARAM, "algorithm %d needs a workspace of %zu bytes and was given %zu", algo, bytes, given);
  return bytes ? in_memory(workspace, bytes, 16, "the workspace") : OK;
}

Perf perf(Direction way, int algo, const Tensor* x, const Filter* w, int math, const Shape& s) {
  Perf p = {};
  p.algo = algo;
  p.time = -1;
  p.status = capable(way, algo, x, w, s, p.memory) ? OK : NOT_SUPPORTED;
  p.determinism = way == FORWARD || algo != 0;
  p.math = math;
  if (p.status) p.memory = 0;
  return p;
}

int heuristic(Direction way, const Handle* handle, const Tensor* x, const Filter* w, const Convolution* conv, const Tensor* y,
              int wanted, int* count, Perf* results) {
  LIVE(handle);
  Shape s;
  CHECK(judge(x, w, conv, y, s));
  if (wanted < 1 || !count || !results) return fail(BAD_PARAM, "no place for results");
  *count = 0;
  for (int math : {conv->math, (int) DEFAULT_MATH}) {          // both, as cuDNN does: default math means tf32
    for (int algo : ALGORITHMS[way]) if (*count < wanted) results[(*count)++] = perf(way, algo, x, w, math, s);
    if (math == DEFAULT_MATH) break;
  }
  return OK;
}

/** Runs all algorithms by `run`, waits, and says those with the largest workspace to be the fastest, with tf32 before without. */
template <class F> int find(Direction way, const Handle* handle, const Tensor* x, const Filter* w, const Convolution* conv,
                            const Tensor* y, int wanted, int* count, Perf* results, size_t workspace, F run) {
  Perf all[6];
  int n;
  CHECK(heuristic(way, handle, x, w, conv, y, 6, &n, all));
  if (wanted < 1 || !count || !results) return fail(BAD_PARAM, "no place for results");
  for (int i = 0; i < n; i++) {
    if (all[i].status) continue;
    if (all[i].memory > workspace) { all[i].status = ALLOC_FAILED; continue; }
    if (i >= 3) continue;                      // the same with another math
    CHECK(run(all[i].algo));
    if (int e = cuStreamSynchronize(handle->stream)) return fail(EXECUTION_FAILED, "CUDA's error %d", e);
  }
  std::stable_sort(all, all + n, [](const Perf& a, const Perf& b) {
    return a.status != b.status ? a.status < b.status : a.memory != b.memory ? a.memory > b.memory : a.math != FMA_MATH && b.math == FMA_MATH;
  });
  *count = std::min(wanted, n);
  for (int i = 0; i < *count; i++) {
    results[i] = all[i];
    if (!all[i].status) results[i].time = 0.01f * (float) (i + 1);
  }
  return OK;
}

int workspace_size(Direction way, const Handle* handle, const Tensor* x, const Filter* w, const Convolution* conv,
                   const Tensor* y, int algo, size_t* bytes) {
  LIVE(handle);
  Shape s;
  CHECK(judge(x, w, conv, y, s));
  return bytes ? needed(way, algo, x, w, s, *bytes) : fail(BAD_PARAM, "the place for the result is null");
}

}  // namespace

// ---- descriptors

API int cudnnCreateConvolutionDescriptor(Convolution** out) {
  BEGIN();
  CHECK(create(out));
  (*out)->groups = 1;
  return OK;
}
API int cudnnDestroyConvolutionDescriptor(Convolution* c) { BEGIN(); return destroy(c); }
API int cudnnSetConvolutionNdDescriptor(Convolution* conv, int n, const int* pad, const int* stride, const int* dilation,
                                        int mode, int type) {
  BEGIN();
  if (!live(conv, "convDesc", false)) return BAD_PARAM;
  if (!pad || !stride || !dilation) return fail(BAD_PARAM, "no padding, stride or dilation");
  if (n < 1) return fail(BAD_PARAM, "%d spatial dimensions", n);
  if (n > MAX_SPATIAL) return fail(NOT_SUPPORTED, "%d spatial dimensions", n);
  if (mode != CONVOLUTION && mode != CROSS_CORRELATION) return fail(BAD_PARAM, "mode %d", mode);
  if (type != F32 && type != F64 && type != F16) return fail(NOT_SUPPORTED, "computing in type %d", type);
  for (int i = 0; i < n; i++) {
    if (pad[i] < 0 || stride[i] < 1 || dilation[i] < 1)
      return fail(BAD_PARAM, "spatial dimension %d: padding %d, stride %d, dilation %d", i, pad[i], stride[i], dilation[i]);
  }
  for (int i = 0; i < n; i++) {
    conv->pad[i] = pad[i];
    conv->stride[i] = stride[i];
    conv->dilation[i] = dilation[i];
  }
  conv->n = n;
  conv->mode = mode;
  conv->type = type;
  conv->set = true;
  return OK;
}
API int cudnnSetConvolutionGroupCount(Convolution* conv, int groups) {
  BEGIN();
  if (!live(conv, "convDesc", false)) return BAD_PARAM;
  if (groups < 1) return fail(BAD_PARAM, "%d groups", groups);
  conv->groups = groups;
  return OK;
}
API int cudnnSetConvolutionMathType(Convolution* conv, int math) {
  BEGIN();
  if (!live(conv, "convDesc", false)) return BAD_PARAM;
  if (math < DEFAULT_MATH || math > FMA_MATH) return fail(BAD_PARAM, "math type %d", math);
  conv->math = math;
  return OK;
}

// ---- the choice of an algorithm

API int cudnnGetConvolutionForwardAlgorithm_v7(Handle* handle, const Tensor* x, const Filter* w, const Convolution* conv,
                                               const Tensor* y, int wanted, int* count, Perf* results) {
  BEGIN();
  return heuristic(FORWARD, handle, x, w, conv, y, wanted, count, results);
}
API int cudnnGetConvolutionBackwardDataAlgorithm_v7(Handle* handle, const Filter* w, const Tensor* dy, const Convolution* conv,
                                                    const Tensor* dx, int wanted, int* count, Perf* results) {
  BEGIN();
  return heuristic(BACKWARD_DATA, handle, dx, w, conv, dy, wanted, count, results);
}
API int cudnnGetConvolutionBackwardFilterAlgorithm_v7(Handle* handle, const Tensor* x, const Tensor* dy, const Convolution* conv,
                                                      const Filter* dw, int wanted, int* count, Perf* results) {
  BEGIN();
  return heuristic(BACKWARD_FILTER, handle, x, dw, conv, dy, wanted, count, results);
}
API int cudnnGetConvolutionForwardWorkspaceSize(Handle* handle, const Tensor* x, const Filter* w, const Convolution* conv,
                                                const Tensor* y, int algo, size_t* bytes) {
  BEGIN();
  return workspace_size(FORWARD, handle, x, w, conv, y, algo, bytes);
}
API int cudnnGetConvolutionBackwardDataWorkspaceSize(Handle* handle, const Filter* w, const Tensor* dy, const Convolution* conv,
                                                     const Tensor* dx, int algo, size_t* bytes) {
  BEGIN();
  return workspace_size(BACKWARD_DATA, handle, dx, w, conv, dy, algo, bytes);
}
API int cudnnGetConvolutionBackwardFilterWorkspaceSize(Handle* handle, const Tensor* x, const Tensor* dy, const Convolution* conv,
                                                       const Filter* dw, int algo, size_t* bytes) {
  BEGIN();
  return workspace_size(BACKWARD_FILTER, handle, x, dw, conv, dy, algo, bytes);
}

// ---- the convolutions

API int cudnnConvolutionForward(Handle* handle, const void* alpha, const Tensor* x_desc, const char* x, const Filter* w_desc,
                                const char* w, const Convolution* conv, int algo, char* workspace, size_t given,
                                const void* beta, const Tensor* y_desc, char* y) {
  BEGIN();
  LIVE(handle);
  Shape s;
  size_t bytes;
  CHECK(judge(x_desc, w_desc, conv, y_desc, s));
  if (!alpha || !beta) return fail(BAD_PARAM, "alpha or beta is null");
  CHECK(in_memory(*x_desc, x, "x"));
  CHECK(in_memory(w_desc->tensor, w, "w"));
  CHECK(in_memory(*y_desc, y, "y"));
  CHECK(workspace_of(FORWARD, algo, x_desc, w_desc, s, workspace, given, bytes));
  double a = factor(alpha, x_desc->type), b = factor(beta, x_desc->type);
  return submit(handle, [=, xt = *x_desc, wt = w_desc->tensor, yt = *y_desc] {
    memset(workspace, 0xff, bytes);            // nobody else's data may lie there
    write(yt, y, forward(s, operand(s, xt, x), operand(s, wt, w), yt.count()).data(), a, b);
  });
}

API int cudnnConvolutionBackwardData(Handle* handle, const void* alpha, const Filter* w_desc, const char* w,
                                     const Tensor* dy_desc, const char* dy, const Convolution* conv, int algo, char* workspace,
                                     size_t given, const void* beta, const Tensor* dx_desc, char* dx) {
  BEGIN();
  LIVE(handle);
  Shape s;
  size_t bytes;
  CHECK(judge(dx_desc, w_desc, conv, dy_desc, s));
  if (!alpha || !beta) return fail(BAD_PARAM, "alpha or beta is null");
  CHECK(in_memory(w_desc->tensor, w, "w"));
  CHECK(in_memory(*dy_desc, dy, "dy"));
  CHECK(in_memory(*dx_desc, dx, "dx"));
  CHECK(workspace_of(BACKWARD_DATA, algo, dx_desc, w_desc, s, workspace, given, bytes));
  double a = factor(alpha, dx_desc->type), b = factor(beta, dx_desc->type);
  return submit(handle, [=, wt = w_desc->tensor, dyt = *dy_desc, dxt = *dx_desc] {
    memset(workspace, 0xff, bytes);
    write(dxt, dx, backward_data(s, operand(s, wt, w), operand(s, dyt, dy), dxt.count()).data(), a, b);
  });
}

API int cudnnConvolutionBackwardFilter(Handle* handle, const void* alpha, const Tensor* x_desc, const char* x,
                                       const Tensor* dy_desc, const char* dy, const Convolution* conv, int algo,
                                       char* workspace, size_t given, const void* beta, const Filter* dw_desc, char* dw) {
  BEGIN();
  LIVE(handle);
  Shape s;
  size_t bytes;
  CHECK(judge(x_desc, dw_desc, conv, dy_desc, s));
  if (!alpha || !beta) return fail(BAD_PARAM, "alpha or beta is null");
  CHECK(in_memory(*x_desc, x, "x"));
  CHECK(in_memory(*dy_desc, dy, "dy"));
  CHECK(in_memory(dw_desc->tensor, dw, "dw"));
  CHECK(workspace_of(BACKWARD_FILTER, algo, x_desc, dw_desc, s, workspace, given, bytes));
  double a = factor(alpha, x_desc->type), b = factor(beta, x_desc->type);
  return submit(handle, [=, xt = *x_desc, dyt = *dy_desc, dwt = dw_desc->tensor] {
    memset(workspace, 0xff, bytes);
    write(dwt, dw, backward_filter(s, operand(s, xt, x), operand(s, dyt, dy), dwt.count()).data(), a, b);
  });
}

API int cudnnConvolutionBackwardBias(Handle* handle, const void* alpha, const Tensor* dy_desc, const char* dy, const void* beta,
                                     const Tensor* db_desc, char* db) {
  BEGIN();
  LIVE(handle);
  LIVE(dy_desc);
  LIVE(db_desc);
  if (!alpha || !beta) return fail(BAD_PARAM, "alpha or beta is null");
  if (dy_desc->n != db_desc->n || dy_desc->type != db_desc->type) return fail(BAD_PARAM, "dimensions or types differ");
  for (int i = 0; i < db_desc->n; i++)
    if (db_desc->size[i] != (i == 1 ? dy_desc->size[1] : 1)) return fail(BAD_PARAM, "db has size %lld in dimension %d", (long long) db_desc->size[i], i);
  CHECK(positive_strides(*dy_desc, "dy"));
  CHECK(in_memory(*dy_desc, dy, "dy"));
  CHECK(in_memory(*db_desc, db, "db"));
  double a = factor(alpha, dy_desc->type), b = factor(beta, dy_desc->type);
  return submit(handle, [=, dyt = *dy_desc, dbt = *db_desc] {
    std::vector<double> g = read(dyt, dy), sums(dyt.size[1]);
    int64_t k = dyt.size[1], each = dyt.count() / (dyt.size[0] * k);
    for (int64_t i = 0; i < (int64_t) g.size(); i++) sums[i / each % k] += g[i];
    write(dbt, db, sums.data(), a, b);
  });
}

API int cudnnConvolutionBiasActivationForward(Handle* handle, const void* alpha1, const Tensor* x_desc, const char* x,
                                              const Filter* w_desc, const char* w, const Convolution* conv, int algo,
                                              char* workspace, size_t given, const void* alpha2, const Tensor* z_desc,
                                              const char* z, const Tensor* bias_desc, const char* bias,
                                              const Activation* activation, const Tensor* y_desc, char* y) {
  BEGIN();
  LIVE(handle);
  Shape s;
  size_t bytes;
  CHECK(judge(x_desc, w_desc, conv, y_desc, s));
  LIVE(z_desc);
  LIVE(bias_desc);
  LIVE(activation);
  if (!alpha1 || !alpha2) return fail(BAD_PARAM, "alpha1 or alpha2 is null");
  bool relu = activation->mode == RELU;
  if (!relu && activation->mode != IDENTITY) return fail(NOT_SUPPORTED, "an activation of mode %d", activation->mode);
  if (!relu && algo != PRECOMP_GEMM) return fail(NOT_SUPPORTED, "no activation with algorithm %d and not IMPLICIT_PRECOMP_GEMM", algo);
  if (activation->nan) return fail(NOT_SUPPORTED, "an activation that propagates NaN");
  for (int i = 0; i < bias_desc->n; i++)
    if (bias_desc->n != y_desc->n || bias_desc->size[i] != (i == 1 ? y_desc->size[1] : 1))
      return fail(NOT_SUPPORTED, "the bias does not have the sizes (1, K, 1, 1)");
  if (bias_desc->stride[1] != 1 || bias_desc->type != y_desc->type) return fail(NOT_SUPPORTED, "the bias has gaps or another type");
  if (!z_desc->same_sizes(*y_desc) || z_desc->type != y_desc->type) return fail(NOT_SUPPORTED, "z is not like y");
  for (int i = 0; i < y_desc->n; i++) if (z_desc->stride[i] != y_desc->stride[i]) return fail(NOT_SUPPORTED, "z is not laid out like y");
  CHECK(in_memory(*x_desc, x, "x"));
  CHECK(in_memory(w_desc->tensor, w, "w"));
  CHECK(in_memory(*z_desc, z, "z"));
  CHECK(in_memory(*bias_desc, bias, "bias"));
  CHECK(in_memory(*y_desc, y, "y"));
  CHECK(workspace_of(FORWARD, algo, x_desc, w_desc, s, workspace, given, bytes));
  double a1 = factor(alpha1, x_desc->type), a2 = factor(alpha2, x_desc->type);
  return submit(handle, [=, xt = *x_desc, wt = w_desc->tensor, bt = *bias_desc, yt = *y_desc] {
    memset(workspace, 0xff, bytes);
    std::vector<double> v = forward(s, operand(s, xt, x), operand(s, wt, w), yt.count()), add, b = read(bt, bias);
    if (a2 != 0) add = read(yt, z);
    int64_t k = yt.size[1], each = yt.count() / (yt.size[0] * k);
    for (int64_t i = 0; i < (int64_t) v.size(); i++) {
      v[i] = a1 * v[i] + (a2 != 0 ? a2 * add[i] : 0) + b[i / each % k];
      if (relu && v[i] < 0) v[i] = 0;          // NaN stays, to be seen
    }
    write(yt, y, v.data(), 1, 0);
  });
}

// ---- timing

API int cudnnFindConvolutionForwardAlgorithmEx(Handle* handle, const Tensor* x_desc, const char* x, const Filter* w_desc,
                                               const char* w, const Convolution* conv, const Tensor* y_desc, char* y, int wanted,
                                               int* count, Perf* results, char* workspace, size_t bytes) {
  BEGIN();
  const double one64 = 1, zero = 0;
  const float one32 = 1;
  return find(FORWARD, handle, x_desc, w_desc, conv, y_desc, wanted, count, results, bytes, [&](int algo) {
    const void* one = x_desc->type == F64 ? (const void*) &one64 : &one32;
    return cudnnConvolutionForward(handle, one, x_desc, x, w_desc, w, conv, algo, workspace, bytes, &zero, y_desc, y);
  });
}
API int cudnnFindConvolutionBackwardDataAlgorithmEx(Handle* handle, const Filter* w_desc, const char* w, const Tensor* dy_desc,
                                                    const char* dy, const Convolution* conv, const Tensor* dx_desc, char* dx,
                                                    int wanted, int* count, Perf* results, char* workspace, size_t bytes) {
  BEGIN();
  const double one64 = 1, zero = 0;
  const float one32 = 1;
  return find(BACKWARD_DATA, handle, dx_desc, w_desc, conv, dy_desc, wanted, count, results, bytes, [&](int algo) {
    const void* one = dx_desc->type == F64 ? (const void*) &one64 : &one32;
    return cudnnConvolutionBackwardData(handle, one, w_desc, w, dy_desc, dy, conv, algo, workspace, bytes, &zero, dx_desc, dx);
  });
}
API int cudnnFindConvolutionBackwardFilterAlgorithmEx(Handle* handle, const Tensor* x_desc, const char* x, const Tensor* dy_desc,
                                                      const char* dy, const Convolution* conv, const Filter* dw_desc, char* dw,
                                                      int wanted, int* count, Perf* results, char* workspace, size_t bytes) {
  BEGIN();
  const double one64 = 1, zero = 0;
  const float one32 = 1;
  return find(BACKWARD_FILTER, handle, x_desc, dw_desc, conv, dy_desc, wanted, count, results, bytes, [&](int algo) {
    const void* one = x_desc->type == F64 ? (const void*) &one64 : &one32;
    return cudnnConvolutionBackwardFilter(handle, one, x_desc, x, dy_desc, dy, conv, algo, workspace, bytes, &zero, dw_desc, dw);
  });
}
