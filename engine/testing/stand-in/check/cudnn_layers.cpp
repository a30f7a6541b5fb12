// Checks of the cuDNN stand-in's pooling and batch normalization: pooling against loops over windows, batch normalization
// against its formula and, backward, against differences of it.
#include "cudnn.h"

static void pooling(int type, int order, int mode, const Sizes& in, const Sizes& window, const Sizes& pad, const Sizes& stride,
                    double alpha_value, double beta_value, bool captured, const std::string& what) {
  Sizes xs = {2, 3}, ys = {2, 3}, out;
  for (size_t d = 0; d < in.size(); d++) {
    out.push_back((in[d] + 2 * pad[d] - window[d]) / stride[d] + 1);
    xs.push_back(in[d]);
    ys.push_back(out[d]);
  }
  Field x(type, xs, order), y(type, ys, order), dy(type, ys, order), dx(type, xs, order);
  Factor alpha(alpha_value, type), beta(beta_value, type), one(1, type), zero(0, type);
  void* pool;
  dnn("cudnnCreatePoolingDescriptor", &pool);
  int e = dnn("cudnnSetPoolingNdDescriptor", pool, mode, 1, (int) in.size(), (const int*) window.data(), (const int*) pad.data(), (const int*) stride.data());
  Values result(y.values.size()), gradient(x.values.size());
  long inputs = count_of(in), outputs = count_of(out), taps = count_of(window);
  for (long c = 0; c < 6; c++) for (long o = 0; o < outputs; o++) {
    std::vector<long> inside;
    for (long tap = 0; tap < taps; tap++) {
      long ro = o, rt = tap, at = 0, scale = 1;
      bool ok = true;
      for (size_t d = in.size(); d-- > 0;) {
        long i = ro % out[d] * stride[d] - pad[d] + rt % window[d];
        ro /= out[d];
        rt /= window[d];
        ok = ok && i >= 0 && i < in[d];
        at += i * scale;
        scale *= in[d];
      }
      if (ok) inside.push_back(c * inputs + at);
    }
    double sum = 0, divisor = mode == 1 ? (double) taps : (double) inside.size();
    long best = inside[0];
    for (long i : inside) {
      sum += x.values[i];
      if (x.values[i] > x.values[best]) best = i;
    }
    double g = dy.values[c * outputs + o];
    if (mode == 0 || mode == 3) { result[c * outputs + o] = x.values[best]; gradient[best] += g; }
    else { result[c * outputs + o] = sum / divisor; for (long i : inside) gradient[i] += g / divisor; }
  }
  e |= maybe_captured(captured, [&] {
    return dnn("cudnnPoolingForward", dnn_handle, pool, one.p(), x.descriptor, x.data, zero.p(), y.descriptor, y.data);
  });
  report(e, y.error(result), type, what + ", forward");
  Values blended;
  for (size_t i = 0; i < gradient.size(); i++) blended.push_back(alpha_value * gradient[i] + beta_value * dx.values[i]);
  e = maybe_captured(captured, [&] {
    return dnn("cudnnPoolingBackward", dnn_handle, pool, alpha.p(), y.descriptor, y.data, dy.descriptor, dy.data, x.descriptor, x.data,
               beta.p(), dx.descriptor, dx.data);
  });
  report(e, dx.error(blended), type, what + ", backward");
  Field wrong(type, xs, order);
  check(dnn("cudnnPoolingForward", dnn_handle, pool, one.p(), x.descriptor, x.data, zero.p(), wrong.descriptor, wrong.data) == 2000,
        "an output of another size is refused");
}

void poolings() {
  pooling(F32, NCHW, 0, {7, 6}, {2, 2}, {0, 0}, {2, 2}, 1, 0, false, "max pooling, f32");
  pooling(BF16, NHWC, 3, {7, 6}, {3, 3}, {1, 1}, {2, 1}, 1, 0, true, "max pooling, bf16, NHWC, captured");
  pooling(F64, NCHW, 1, {7, 6}, {3, 2}, {1, 1}, {2, 2}, 2, 1, false, "average pooling with padding, f64, alpha, beta");
  pooling(F16, GAPS, 2, {7, 6}, {3, 2}, {1, 1}, {2, 2}, 1, 0, false, "average pooling without padding, f16, gaps");
  pooling(F32, NHWC, 0, {5, 4, 6}, {2, 2, 3}, {0, 1, 1}, {1, 2, 2}, 1, 1, false, "max pooling, 3 dimensions");
}

static void batch_norm(int type, int order, const Sizes& sizes, int mode, bool saved, bool captured, const std::string& what) {
  int stats_type = type == F64 ? F64 : F32, channels = sizes[1];
  Sizes small(sizes.size(), 1);
  small[1] = channels;
  Field x(type, sizes, order), y(type, sizes, order), dy(type, sizes, order), dx(type, sizes, order);
  Field scale(stats_type, small, NCHW), bias(stats_type, small, NCHW), mean(stats_type, small, NCHW), inverse(stats_type, small, NCHW);
  Field running_mean(stats_type, small, NCHW), running_variance(stats_type, small, NCHW, false, 0.5, 2), dscale(stats_type, small, NCHW), dbias(stats_type, small, NCHW);
  Factor one(1, type), zero(0, type), half(0.5, type);
  double epsilon = 1e-3, momentum = 0.25;
  long inner = count_of(sizes) / sizes[0] / channels, count = inner * sizes[0];
  auto channel = [&](size_t i) { return i / inner % channels; };
  auto normalized = [&](const Values& v, Values* means, Values* inverses, Values* variances) {
    Values m(channels), s(channels), r;
    for (size_t i = 0; i < v.size(); i++) m[channel(i)] += v[i] / (double) count;
    for (size_t i = 0; i < v.size(); i++) s[channel(i)] += std::pow(v[i] - m[channel(i)], 2) / (double) count;
    for (size_t i = 0; i < v.size(); i++) r.push_back((v[i] - m[channel(i)]) / std::sqrt(s[channel(i)] + epsilon));
    if (means) *means = m;
    if (variances) *variances = s;
    if (inverses) for (double q : s) inverses->push_back(1 / std::sqrt(q + epsilon));
    return r;
  };
  Values means, inverses, variances, unit = normalized(x.values, &means, &inverses, &variances), expected;
  for (size_t i = 0; i < unit.size(); i++) expected.push_back(unit[i] * scale.values[channel(i)] + bias.values[channel(i)]);
  int e = maybe_captured(captured, [&] {
    return dnn("cudnnBatchNormalizationForwardTraining", dnn_handle, mode, one.p(), zero.p(), x.descriptor, x.data, y.descriptor, y.data,
               scale.descriptor, scale.data, bias.data, momentum, running_mean.data, running_variance.data, epsilon, mean.data, inverse.data);
  });
  report(e, y.error(expected), type, what + ", training");
  Values rm, rv;
  for (int c = 0; c < channels; c++) {
    rm.push_back(running_mean.values[c] * (1 - momentum) + means[c] * momentum);
    rv.push_back(running_variance.values[c] * (1 - momentum) + variances[c] * (double) count / (double) (count - 1) * momentum);
  }
  report(0, std::fmax(std::fmax(mean.error(means), inverse.error(inverses)), std::fmax(running_mean.error(rm), running_variance.error(rv))),
         stats_type, what + ", statistics");
  expected.clear();
  for (size_t i = 0; i < x.values.size(); i++) {
    size_t c = channel(i);
    expected.push_back((x.values[i] - rm[c]) / std::sqrt(rv[c] + epsilon) * scale.values[c] + bias.values[c] + 0.5 * dx.values[i]);
  }
  e = dnn("cudnnBatchNormalizationForwardInference", dnn_handle, mode, one.p(), half.p(), x.descriptor, x.data, dx.descriptor, dx.data,
          scale.descriptor, scale.data, bias.data, running_mean.data, running_variance.data, epsilon);
  report(e, dx.error(expected), type, what + ", inference, blended");

  Values ds(channels), db(channels), differences;
  for (size_t i = 0; i < unit.size(); i++) {
    ds[channel(i)] += dy.values[i] * unit[i];
    db[channel(i)] += dy.values[i];
  }
  for (int c = 0; c < channels; c++) ds[c] += 0.5 * dscale.values[c], db[c] += 0.5 * dbias.values[c];
  for (size_t i = 0; i < x.values.size(); i++) {
    double loss[2];
    for (int side : {0, 1}) {
      Values moved = x.values;
      moved[i] += side ? 1e-5 : -1e-5;
      Values u = normalized(moved, nullptr, nullptr, nullptr);
      loss[side] = 0;
      for (size_t j = 0; j < u.size(); j++) loss[side] += u[j] * scale.values[channel(j)] * dy.values[j];
    }
    differences.push_back((loss[1] - loss[0]) / 2e-5);
  }
  e = maybe_captured(captured, [&] {
    return dnn("cudnnBatchNormalizationBackward", dnn_handle, mode, one.p(), zero.p(), one.p(), half.p(), x.descriptor, x.data, dy.descriptor,
               dy.data, dx.descriptor, dx.data, scale.descriptor, scale.data, dscale.data, dbias.data, epsilon,
               saved ? mean.data : nullptr, saved ? inverse.data : nullptr);
  });
  report(e, dx.error(differences), type == F64 || type == F32 ? F16 : type, what + ", backward, by differences");
  check(type != F64 || dx.error(differences) < 1e-7, "closely");
  report(0, std::fmax(dscale.error(ds), dbias.error(db)), stats_type, what + ", backward, scale and bias");
  check(dnn("cudnnBatchNormalizationBackward", dnn_handle, mode, one.p(), zero.p(), one.p(), half.p(), x.descriptor, x.data, dy.descriptor,
            dy.data, dx.descriptor, dx.data, scale.descriptor, scale.data, dscale.data, dbias.data, epsilon, mean.data, (Device) nullptr) == 2000,
        "one saved statistic without the other is refused");
  check(dnn("cudnnBatchNormalizationForwardInference", dnn_handle, mode, one.p(), half.p(), x.descriptor, x.data, dx.descriptor, dx.data,
            x.descriptor, scale.data, bias.data, running_mean.data, running_variance.data, epsilon) == 2000, "statistics like x are refused");
}

void batch_norms() {
  batch_norm(F32, NCHW, {3, 4, 3, 5}, 1, true, false, "batch norm, f32");
  batch_norm(F64, NHWC, {2, 3, 4, 2}, 1, false, true, "batch norm, f64, NHWC, captured");
  batch_norm(BF16, NHWC, {2, 3, 4, 2}, 2, true, false, "batch norm, bf16, NHWC, persistent");
  batch_norm(F16, GAPS, {2, 2, 2, 3, 2}, 1, true, false, "batch norm, f16, gaps, 5 dimensions");
}
