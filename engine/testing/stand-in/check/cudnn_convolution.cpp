// Checks of the cuDNN stand-in's convolutions against the definition, written out here output by output.
#include "cudnn.h"

struct Case {
  int type, order, filter_order, n, c, k, groups, flipped;
  Sizes in, taps, pad, stride, dilation;
  double alpha, beta;
};
struct Perf { int algo, status; float time; size_t memory; int determinism, math, reserved[3]; };

/** Calls f(x, w, y) with the indices of every product. */
template <class F> static void products(const Case& t, const Sizes& out, F f) {
  size_t dims = t.in.size();
  long outputs = count_of(out), taps = count_of(t.taps), inputs = count_of(t.in);
  int cg = t.c / t.groups, kg = t.k / t.groups;
  for (int n = 0; n < t.n; n++) for (int k = 0; k < t.k; k++) for (long o = 0; o < outputs; o++)
    for (int c = 0; c < cg; c++) for (long tap = 0; tap < taps; tap++) {
      long ro = o, rt = tap, x = 0, scale = 1;
      bool inside = true;
      for (size_t d = dims; d-- > 0;) {
        long i = ro % out[d] * t.stride[d] - t.pad[d] + rt % t.taps[d] * t.dilation[d];
        ro /= out[d];
        rt /= t.taps[d];
        inside = inside && i >= 0 && i < t.in[d];
        x += i * scale;
        scale *= t.in[d];
      }
      long w = t.flipped ? taps - 1 - tap : tap;
      if (inside) f(((long) n * t.c + k / kg * cg + c) * inputs + x, ((long) k * cg + c) * taps + w, ((long) n * t.k + k) * outputs + o);
    }
}

static void* convolution(const Case& t) {
  void* conv;
  dnn("cudnnCreateConvolutionDescriptor", &conv);
  int e = dnn("cudnnSetConvolutionNdDescriptor", conv, (int) t.in.size(), (const int*) t.pad.data(), (const int*) t.stride.data(),
              (const int*) t.dilation.data(), !t.flipped, t.type == F64 ? F64 : F32);
  e |= dnn("cudnnSetConvolutionGroupCount", conv, t.groups) | dnn("cudnnSetConvolutionMathType", conv, 0);
  if (e) check(false, "convolution descriptor");
  return conv;
}

static Values blend(const Case& t, const Values& sums, const Values& old) {
  Values v;
  for (size_t i = 0; i < sums.size(); i++) v.push_back(t.alpha * sums[i] + t.beta * old[i]);
  return v;
}

static void run(const Case& t, bool captured, const std::string& what) {
  Sizes out, xs = {t.n, t.c}, ws = {t.k, t.c / t.groups}, ys = {t.n, t.k}, bs = {1, t.k};
  for (size_t d = 0; d < t.in.size(); d++) {
    out.push_back((t.in[d] + 2 * t.pad[d] - t.dilation[d] * (t.taps[d] - 1) - 1) / t.stride[d] + 1);
    xs.push_back(t.in[d]);
    ws.push_back(t.taps[d]);
    ys.push_back(out[d]);
    bs.push_back(1);
  }
  Field x(t.type, xs, t.order), w(t.type, ws, t.filter_order, true), y(t.type, ys, t.order), dy(t.type, ys, t.order);
  Field dx(t.type, xs, t.order), dw(t.type, ws, t.filter_order, true), db(t.type, bs, NCHW), bias(t.type, bs, NCHW), z(t.type, ys, t.order);
  Factor alpha(t.alpha, t.type), beta(t.beta, t.type);
  void* conv = convolution(t);
  Device workspace = device(std::vector<char>(1 << 20));
  size_t most = 1 << 20;
  Values y_sum(y.values.size()), dx_sum(x.values.size()), dw_sum(w.values.size()), db_sum(t.k);
  products(t, out, [&](long xi, long wi, long yi) {
    y_sum[yi] += x.values[xi] * w.values[wi];
    dx_sum[xi] += dy.values[yi] * w.values[wi];
    dw_sum[wi] += dy.values[yi] * x.values[xi];
  });
  for (size_t i = 0; i < dy.values.size(); i++) db_sum[i / count_of(out) % t.k] += dy.values[i];

  Perf found[8];
  int n = 0;
  int e = dnn("cudnnGetConvolutionForwardAlgorithm_v7", dnn_handle, x.descriptor, w.descriptor, conv, y.descriptor, 8, &n, found);
  for (int i = 0; i < n; i++) {
    if (found[i].status) continue;
    Field r(t.type, ys, t.order);
    size_t bytes = 0;
    e |= dnn("cudnnGetConvolutionForwardWorkspaceSize", dnn_handle, x.descriptor, w.descriptor, conv, r.descriptor, found[i].algo, &bytes);
    e |= bytes != found[i].memory;
    e |= maybe_captured(captured, [&] {
      return dnn("cudnnConvolutionForward", dnn_handle, alpha.p(), x.descriptor, x.data, w.descriptor, w.data, conv, found[i].algo,
                 workspace, most, beta.p(), r.descriptor, r.data);
    });
    report(e, r.error(blend(t, y_sum, r.values)), t.type, what + ", forward, algorithm " + std::to_string(found[i].algo));
  }
  e = dnn("cudnnGetConvolutionBackwardDataAlgorithm_v7", dnn_handle, w.descriptor, dy.descriptor, conv, dx.descriptor, 8, &n, found);
  check(e == 0 && n == 3 && found[0].determinism == 0 && found[1].determinism == 1 && found[0].memory == 0 && found[1].memory > 0,
        "the algorithms backward");
  e |= maybe_captured(captured, [&] {
    return dnn("cudnnConvolutionBackwardData", dnn_handle, alpha.p(), w.descriptor, w.data, dy.descriptor, dy.data, conv,
               found[1].algo, workspace, most, beta.p(), dx.descriptor, dx.data);
  });
  report(e, dx.error(blend(t, dx_sum, dx.values)), t.type, what + ", backward data");
  e = dnn("cudnnGetConvolutionBackwardFilterAlgorithm_v7", dnn_handle, x.descriptor, dy.descriptor, conv, dw.descriptor, 8, &n, found);
  e |= maybe_captured(captured, [&] {
    return dnn("cudnnConvolutionBackwardFilter", dnn_handle, alpha.p(), x.descriptor, x.data, dy.descriptor, dy.data, conv,
               found[1].algo, workspace, most, beta.p(), dw.descriptor, dw.data);
  });
  report(e, dw.error(blend(t, dw_sum, dw.values)), t.type, what + ", backward filter");
  e = maybe_captured(captured, [&] {
    return dnn("cudnnConvolutionBackwardBias", dnn_handle, alpha.p(), dy.descriptor, dy.data, beta.p(), db.descriptor, db.data);
  });
  report(e, db.error(blend(t, db_sum, db.values)), t.type, what + ", backward bias");

  for (int mode : {1, 5}) {
    void* activation;
    dnn("cudnnCreateActivationDescriptor", &activation);
    e = dnn("cudnnSetActivationDescriptor", activation, mode, 0, 0.0);
    Values expected;
    for (size_t i = 0; i < y_sum.size(); i++) {
      double v = t.alpha * y_sum[i] + t.beta * z.values[i] + bias.values[i / count_of(out) % t.k];
      expected.push_back(mode == 1 && v < 0 ? 0 : v);
    }
    e |= maybe_captured(captured, [&] {
      return dnn("cudnnConvolutionBiasActivationForward", dnn_handle, alpha.p(), x.descriptor, x.data, w.descriptor, w.data, conv, 1,
                 workspace, most, beta.p(), z.descriptor, z.data, bias.descriptor, bias.data, activation, y.descriptor, y.data);
    });
    report(e, y.error(expected), t.type, what + ", with bias and activation " + std::to_string(mode));
    if (mode == 5) {
      check(dnn("cudnnConvolutionBiasActivationForward", dnn_handle, alpha.p(), x.descriptor, x.data, w.descriptor, w.data, conv, 0,
                workspace, most, beta.p(), z.descriptor, z.data, bias.descriptor, bias.data, activation, y.descriptor, y.data) == 3000,
            "identity is refused with another algorithm");
    }
    dnn("cudnnDestroyActivationDescriptor", activation);
  }
}

static void refusals() {
  Case t = {F32, NCHW, NCHW, 2, 4, 6, 1, 0, {7, 8}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 1, 0};
  Field x(F32, {2, 4, 7, 8}, NCHW), w(F32, {6, 4, 3, 3}, NCHW, true), y(F32, {2, 6, 7, 8}, NCHW), small(F32, {2, 6, 6, 8}, NCHW);
  Field narrow(F32, {6, 3, 3, 3}, NCHW, true), half(F16, {2, 6, 7, 8}, NCHW), krsc(F32, {6, 4, 3, 3}, NHWC, true);
  void* conv = convolution(t);
  float one = 1, zero = 0;
  Device workspace = device(std::vector<char>(1 << 16));
  size_t bytes = 0;
  auto forward = [&](void* w_desc, void* y_desc, Device to, int algo, size_t given) {
    return dnn("cudnnConvolutionForward", dnn_handle, (const void*) &one, x.descriptor, x.data, w_desc, w.data, conv, algo, workspace,
               given, (const void*) &zero, y_desc, to);
  };
  dnn_error();
  check(forward(w.descriptor, y.descriptor, y.data, 0, 0) == 0 && dnn_error().empty(), "a right convolution");
  check(forward(narrow.descriptor, y.descriptor, y.data, 0, 0) == 2000, "filters of other channels are refused");
  std::string text = dnn_error();
  check(text.find("cudnnConvolutionForward") == 0 && text.find("channels") != std::string::npos && dnn_error().empty(), "with a reason, said once");
  check(forward(w.descriptor, small.descriptor, y.data, 0, 0) == 3000, "an output of another size is refused");
  check(forward(w.descriptor, half.descriptor, y.data, 0, 0) == 2000, "types that differ are refused");
  check(forward(krsc.descriptor, y.descriptor, y.data, 0, 0) == 3000, "NHWC filters of NCHW tensors are refused");
  check(forward(w.descriptor, y.descriptor, y.data, 3, 0) == 3000 && forward(w.descriptor, y.descriptor, y.data, 8, 0) == 2000, "other algorithms are refused");
  dnn("cudnnGetConvolutionForwardWorkspaceSize", dnn_handle, x.descriptor, w.descriptor, conv, y.descriptor, 1, &bytes);
  check(bytes > 0 && forward(w.descriptor, y.descriptor, y.data, 1, bytes - 1) == 2000 && forward(w.descriptor, y.descriptor, y.data, 1, bytes) == 0,
        "a workspace that is too small is refused");
  check(forward(w.descriptor, y.descriptor, y.data + 4, 0, 0) == 5000 && forward(w.descriptor, y.descriptor, y.data + 2, 0, 0) == 2000,
        "a tensor over the end of its block, or misaligned, is refused");
  check(forward(conv, y.descriptor, y.data, 0, 0) == 2000, "a descriptor of another kind is refused");

  Perf found[3];
  int n;
  auto find = [&](size_t given) {
    return dnn("cudnnFindConvolutionForwardAlgorithmEx", dnn_handle, x.descriptor, x.data, w.descriptor, w.data, conv, y.descriptor,
               y.data, 3, &n, found, workspace, given);
  };
  check(find(1 << 16) == 0 && n == 3 && !found[0].status && found[0].memory > 0 && found[0].time > 0 && found[0].time < found[1].time, "find");
  check(find(0) == 0 && n == 3 && !found[0].status && found[0].memory == 0 && found[1].status == 4003 && found[2].status == 4003, "find without a workspace");
  Perf six[8];
  dnn("cudnnSetConvolutionMathType", conv, 3);
  int e = dnn("cudnnFindConvolutionForwardAlgorithmEx", dnn_handle, x.descriptor, x.data, w.descriptor, w.data, conv, y.descriptor, y.data,
              8, &n, six, workspace, (size_t) 1 << 16);
  check(e == 0 && n == 6 && six[0].math == 0 && six[1].math == 3 && six[0].algo == six[1].algo, "find says tf32 first, though it is not asked for");
  std::vector<float> ones(x.extent, 1 + 1 / 4096.f), units(w.extent, 1);
  cu("cuMemcpyHtoDAsync_v2", x.data, (const void*) ones.data(), ones.size() * 4, stream);
  cu("cuMemcpyHtoDAsync_v2", w.data, (const void*) units.data(), units.size() * 4, stream);
  forward(w.descriptor, y.descriptor, y.data, 0, 0);
  double narrow_sum, exact = y.now_there()[9];
  dnn("cudnnSetConvolutionMathType", conv, 0);
  forward(w.descriptor, y.descriptor, y.data, 0, 0);
  narrow_sum = y.now_there()[9];
  check(exact == 36 * (1 + 1 / 4096.0) && narrow_sum == 36, "default math is tf32, FMA math is not");

  void* graph;
  cu("cuStreamBeginCapture_v2", stream, 1);
  check(find(0) == 5000, "find spoils a capture");
  cu("cuStreamEndCapture", stream, &graph);
  int minus[] = {1, -1}, two[] = {2, 2};
  check(dnn("cudnnSetConvolutionNdDescriptor", conv, 2, (const int*) minus, (const int*) two, (const int*) two, 1, F32) == 2000, "negative padding is refused");
  dnn("cudnnDestroyTensorDescriptor", y.descriptor);
  check(forward(w.descriptor, y.descriptor, y.data, 0, 0) == 2000, "a destroyed descriptor is refused");

  Field last(F32, {2, 6, 7, 8}, NHWC), last_x(F32, {2, 4, 7, 8}, NHWC), fresh(F32, {2, 4, 7, 8}, NHWC);
  Field wide_x(F64, {2, 4, 7, 8}, NHWC), wide_y(F64, {2, 6, 7, 8}, NHWC), wide_w(F64, {6, 4, 3, 3}, NHWC, true);
  check(dnn("cudnnGetConvolutionForwardWorkspaceSize", dnn_handle, last_x.descriptor, krsc.descriptor, conv, last.descriptor, 0, &bytes) == 0
        && dnn("cudnnGetConvolutionForwardWorkspaceSize", dnn_handle, last_x.descriptor, krsc.descriptor, conv, last.descriptor, 7, &bytes) == 3000,
        "NHWC has no Winograd");
  void* conv64;
  t.type = F64;
  conv64 = convolution(t);
  check(dnn("cudnnGetConvolutionForwardWorkspaceSize", dnn_handle, wide_x.descriptor, wide_w.descriptor, conv64, wide_y.descriptor, 0, &bytes) == 3000,
        "NHWC has no doubles");
}

void convolutions() {
  run({F32, NCHW, NCHW, 2, 3, 4, 1, 0, {7, 9}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 1, 0}, false, "f32");
  run({F32, NHWC, NHWC, 2, 4, 6, 2, 0, {8, 9}, {3, 2}, {2, 0}, {2, 3}, {1, 2}, 1, 0}, true, "f32, NHWC, groups, strides, captured");
  run({F64, NCHW, NCHW, 2, 4, 4, 4, 1, {9, 5}, {2, 3}, {0, 4}, {1, 2}, {3, 2}, 2, 0.5}, false, "f64, depthwise, flipped, alpha, beta");
  run({F32, GAPS, NCHW, 2, 3, 2, 1, 0, {6, 5}, {1, 1}, {0, 0}, {2, 2}, {1, 1}, -1, 1}, true, "f32, with gaps, 1x1, captured");
  run({BF16, NHWC, NHWC, 2, 8, 8, 1, 0, {6, 5}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 1, 0}, false, "bf16, NHWC");
  run({F16, NCHW, NCHW, 1, 4, 4, 2, 0, {6, 5}, {3, 3}, {1, 1}, {2, 1}, {1, 1}, 1, 0}, true, "f16, groups, captured");
  run({F32, NCHW, NCHW, 2, 2, 3, 1, 0, {4, 5, 6}, {2, 3, 2}, {1, 1, 0}, {2, 1, 1}, {1, 1, 2}, 1, 0}, false, "f32, 3 dimensions");
  run({BF16, NHWC, NHWC, 1, 4, 2, 2, 0, {4, 5, 6}, {3, 3, 3}, {1, 1, 1}, {1, 2, 1}, {1, 1, 1}, 1, 0}, false, "bf16, NDHWC, groups");
  refusals();
}
