// Checks of the cuDNN stand-in's recurrent networks against their equations, and of gradients against differences of them.
#include "cudnn.h"

enum { RELU, TANH, LSTM, GRU };
enum { SEQUENCE_MAJOR, PACKED, BATCH_MAJOR };

struct Network {
  int cell, bias, directions, layers, input, hidden, steps;
  Sizes lengths;
  int gates() const { return cell == LSTM ? 4 : cell == GRU ? 3 : 1; }
  int width(int p) const { return p < directions ? input : hidden * directions; }
  int batch() const { return (int) lengths.size(); }
  bool has_bias(int linear) const { return bias == 2 || bias == (linear < gates() ? 1 : 3); }
};

/** All that a loss depends on. Sequences are (B, T, C) here, states (layers, B, H), matrices and biases by layer and number. */
struct Inputs { Values x, hx, cx; std::vector<std::vector<Values>> matrix, bias; };
struct Outputs { Values y, hy, cy; };

static Outputs evaluate(const Network& n, const Inputs& in) {
  int G = n.gates(), H = n.hidden, D = n.directions, B = n.batch(), T = n.steps;
  auto sigmoid = [](double v) { return 1 / (1 + std::exp(-v)); };
  Outputs out = {Values(), Values(in.hx.size()), Values(in.hx.size())};
  Values from = in.x;
  for (int layer = 0; layer < n.layers; layer++) {
    int width = n.width(layer * D);
    Values to(B * T * D * H);
    for (int d = 0; d < D; d++) for (int b = 0; b < B; b++) {
      int p = layer * D + d;
      auto start = [&](const Values& v) { return Values(v.begin() + (p * B + b) * H, v.begin() + (p * B + b + 1) * H); };
      Values h = start(in.hx), c = start(in.cx);
      for (int s = 0; s < n.lengths[b]; s++) {
        int t = d ? n.lengths[b] - 1 - s : s;
        std::vector<Values> a(2 * G, Values(H));
        for (int l = 0; l < 2 * G; l++) for (int i = 0; i < H; i++) {
          a[l][i] = n.has_bias(l) ? in.bias[p][l][i] : 0;
          int columns = l < G ? width : H;
          for (int j = 0; j < columns; j++) a[l][i] += in.matrix[p][l][i * columns + j] * (l < G ? from[(b * T + t) * width + j] : h[j]);
        }
        for (int i = 0; i < H; i++) {
          if (n.cell == LSTM) {
            double input = sigmoid(a[0][i] + a[4][i]), forget = sigmoid(a[1][i] + a[5][i]), output = sigmoid(a[3][i] + a[7][i]);
            c[i] = forget * c[i] + input * std::tanh(a[2][i] + a[6][i]);
            h[i] = output * std::tanh(c[i]);
          } else if (n.cell == GRU) {
            double reset = sigmoid(a[0][i] + a[3][i]), update = sigmoid(a[1][i] + a[4][i]);
            h[i] = (1 - update) * std::tanh(a[2][i] + reset * a[5][i]) + update * h[i];
          } else {
            h[i] = n.cell == TANH ? std::tanh(a[0][i] + a[1][i]) : std::fmax(0, a[0][i] + a[1][i]);
          }
          to[((b * T + t) * D + d) * H + i] = h[i];
        }
      }
      for (int i = 0; i < H; i++) out.hy[(p * B + b) * H + i] = h[i], out.cy[(p * B + b) * H + i] = c[i];
    }
    from = to;
  }
  out.y = from;
  return out;
}

static double dot(const Values& a, const Values& b) { double s = 0; for (size_t i = 0; i < a.size(); i++) s += a[i] * b[i]; return s; }
static double distance(const Values& a, const Values& b) {
  double worst = 0, largest = 1e-30;
  for (double v : b) largest = std::fmax(largest, std::fabs(v));
  for (size_t i = 0; i < a.size(); i++) { double e = std::fabs(a[i] - b[i]); worst = e == e ? std::fmax(worst, e) : 1e30; }
  return worst / largest;
}

/** Sequences on the device in one of cuDNN's layouts, behind whose ends there is NaN. */
struct Sequences {
  const Network& n;
  int type, layout, size;
  void* descriptor;
  Device data;
  Values values;

  Sequences(const Network& n, int type, int layout, int size, bool fill) : n(n), type(type), layout(layout), size(size) {
    double zero = 0;
    dnn("cudnnCreateRNNDataDescriptor", &descriptor);
    int e = dnn("cudnnSetRNNDataDescriptor", descriptor, type, layout, n.steps, n.batch(), size, (const int*) n.lengths.data(), fill ? (const void*) &zero : nullptr);
    if (e) printf("FAIL sequences: %d\n", e), failures++;
    std::vector<char> bytes(total() * bytes_of(type), (char) 0xff);
    values.assign(n.batch() * n.steps * size, 0);
    for (int b = 0; b < n.batch(); b++) for (int t = 0; t < n.lengths[b]; t++) for (int i = 0; i < size; i++) {
      put(type, bytes, at(b, t) + i, (rand() % 257 - 128) / 128.0);
      values[(b * n.steps + t) * size + i] = get(type, bytes, at(b, t) + i);
    }
    data = device(bytes);
  }
  long total() const {
    long sum = 0;
    for (int l : n.lengths) sum += l;
    return size * (layout == PACKED ? sum : (long) n.batch() * n.steps);
  }
  long at(int b, int t) const {
    if (layout == SEQUENCE_MAJOR) return ((long) t * n.batch() + b) * size;
    if (layout == BATCH_MAJOR) return ((long) b * n.steps + t) * size;
    long before = 0;
    for (int u = 0; u < t; u++) for (int l : n.lengths) before += l > u;
    return (before + b) * size;
  }
  /** With zeros behind the ends of sequences, or what is there. */
  Values now_there(bool with_padding) const {
    auto bytes = host<char>(data, total() * bytes_of(type));
    Values v(n.batch() * n.steps * size);
    for (int b = 0; b < n.batch(); b++) for (int t = 0; t < (with_padding && layout != PACKED ? n.steps : n.lengths[b]); t++)
      for (int i = 0; i < size; i++) v[(b * n.steps + t) * size + i] = get(type, bytes, at(b, t) + i);
    return v;
  }
};

struct Space { Device data; size_t bytes; };
static Space space(size_t bytes) { return {bytes ? device(std::vector<char>(bytes, (char) 0xff)) : nullptr, bytes}; }

static void* network(const Network& n, int type, void* dropout) {
  void* rnn;
  dnn("cudnnCreateRNNDescriptor", &rnn);
  int e = dnn("cudnnSetRNNDescriptor_v8", rnn, 0, n.cell, n.bias, n.directions - 1, 0, type, type == F64 ? F64 : F32, 0, n.input, n.hidden,
              n.hidden, n.layers, dropout, 1u);
  check(e == 0, "a network");
  return rnn;
}

/** Fills a weight space by the places that cuDNN says, which may not overlap; `visit` gets what lies there. */
template <class F> static void each_parameter(const Network& n, void* rnn, Space s, F visit) {
  void *matrix_desc, *bias_desc;
  dnn("cudnnCreateTensorDescriptor", &matrix_desc);
  dnn("cudnnCreateTensorDescriptor", &bias_desc);
  for (int p = 0; p < n.layers * n.directions; p++) for (int l = 0; l < 2 * n.gates(); l++) {
    Device matrix, bias;
    int e = dnn("cudnnGetRNNWeightParams", dnn_handle, rnn, p, s.bytes, s.data, l, matrix_desc, &matrix, bias_desc, &bias);
    int type, dims, sizes[3], strides[3];
    dnn("cudnnGetTensorNdDescriptor", matrix_desc, 3, &type, &dims, sizes, strides);
    if (e || dims != 3 || sizes[1] != n.hidden || sizes[2] != (l < n.gates() ? n.width(p) : n.hidden) || !bias == n.has_bias(l))
      check(false, "a parameter's shape");
    visit(matrix - s.data, p, l, n.hidden * sizes[2], false);
    if (bias) visit(bias - s.data, p, l, n.hidden, true);
  }
}

static void run(const Network& n, int type, int layout, bool states, bool captured, const std::string& what) {
  int P = n.layers * n.directions, B = n.batch(), H = n.hidden, G = n.gates();
  void* rnn = network(n, type, nullptr);
  Sequences x(n, type, layout, n.input, false), y(n, type, layout, H * n.directions, true), dy(n, type, layout, H * n.directions, false), dx(n, type, layout, n.input, false);
  Field hx(type, {P, B, H}, NCHW, false, -1, 1), cx(type, {P, B, H}, NCHW, false, -1, 1), hy(type, {P, B, H}, NCHW), cy(type, {P, B, H}, NCHW);
  Field dhy(type, {P, B, H}, NCHW), dcy(type, {P, B, H}, NCHW), dhx(type, {P, B, H}, NCHW), dcx(type, {P, B, H}, NCHW);
  Device lengths = device(n.lengths);
  size_t bytes = 0, workspace_bytes = 0, reserve_bytes = 0;
  int e = dnn("cudnnGetRNNWeightSpaceSize", dnn_handle, rnn, &bytes);
  e |= dnn("cudnnGetRNNTempSpaceSizes", dnn_handle, rnn, 1, x.descriptor, &workspace_bytes, &reserve_bytes);
  Space weights = {nullptr, bytes}, workspace = space(workspace_bytes), reserve = space(reserve_bytes);
  Inputs in = {x.values, hx.values, cx.values, {}, {}};
  if (!states) in.hx.assign(in.hx.size(), 0), in.cx.assign(in.cx.size(), 0);
  in.matrix.assign(P, std::vector<Values>(2 * G));
  in.bias = in.matrix;
  std::vector<char> memory(bytes);
  std::vector<int> used(bytes / bytes_of(type));
  weights.data = device(memory);
  each_parameter(n, rnn, weights, [&](long at, int p, int l, int count, bool is_bias) {
    long first = at / (long) bytes_of(type);
    Values& v = is_bias ? in.bias[p][l] : in.matrix[p][l];
    for (long i = first; i < first + count; i++) {
      used[i]++;
      put(type, memory, i, (rand() % 257 - 128) / 256.0);
      v.push_back(get(type, memory, i));
    }
  });
  bool once = true;
  for (int u : used) once &= u == 1;
  check(e == 0 && once, "the weight space is covered once");
  weights.data = device(memory);
  Device dweights = device(std::vector<char>(bytes));

  Device none = nullptr;
  Outputs out = evaluate(n, in);
  auto forward = [&](int training, Space r) {
    return dnn("cudnnRNNForward", dnn_handle, rnn, training, lengths, x.descriptor, x.data, y.descriptor, y.data, hx.descriptor,
               states ? hx.data : none, hy.data, cx.descriptor, states ? cx.data : none, cy.data, weights.bytes, weights.data, workspace.bytes,
               workspace.data, r.bytes, r.data);
  };
  double tolerance = type == BF16 ? 0.02 : type == F32 ? 1e-6 : 1e-8;
  auto close = [&](int status, const Values& got, const Values& expected, const char* part) {
    char line[200];
    double error = distance(got, expected);
    snprintf(line, sizeof line, "cudnn %s, %s: status %d, worst error %.1e", what.c_str(), part, status, error);
    check(status == 0 && error < tolerance, line);
  };
  e = forward(0, {nullptr, 0});
  close(e, y.now_there(true), out.y, "inference, with padding");
  e = maybe_captured(captured, [&] { return forward(1, reserve); });
  close(e, y.now_there(true), out.y, "training");
  close(0, hy.now_there(), out.hy, "last state");
  if (n.cell == LSTM) close(0, cy.now_there(), out.cy, "last cell");

  e = maybe_captured(captured, [&] {
    return dnn("cudnnRNNBackwardData_v8", dnn_handle, rnn, lengths, y.descriptor, y.data, dy.data, x.descriptor, dx.data, hx.descriptor,
               states ? hx.data : none, dhy.data, dhx.data, cx.descriptor, states ? cx.data : none, dcy.data, dcx.data, weights.bytes,
               weights.data, workspace.bytes, workspace.data, reserve.bytes, reserve.data);
  });
  auto loss = [&] {
    Outputs o = evaluate(n, in);
    return dot(o.y, dy.values) + dot(o.hy, dhy.values) + (n.cell == LSTM ? dot(o.cy, dcy.values) : 0);
  };
  auto differences = [&](Values& of) {
    Values g;
    for (double& v : of) {
      double keep = v, delta = 1e-5;
      v = keep + delta;
      double up = loss();
      v = keep - delta;
      g.push_back((up - loss()) / (2 * delta));
      v = keep;
    }
    return g;
  };
  close(e, dx.now_there(false), differences(in.x), "gradient of x");
  close(0, dhx.now_there(), differences(in.hx), "gradient of the first state");
  if (n.cell == LSTM) close(0, dcx.now_there(), differences(in.cx), "gradient of the first cell");
  e = 0;
  for (int times = 0; times < 2; times++)                          // the second adds
    e |= maybe_captured(captured, [&] {
      return dnn("cudnnRNNBackwardWeights_v8", dnn_handle, rnn, 0, lengths, x.descriptor, x.data, hx.descriptor, states ? hx.data : none,
                 y.descriptor, y.data, weights.bytes, dweights, workspace.bytes, workspace.data, reserve.bytes, reserve.data);
    });
  auto gradients = host<char>(dweights, bytes);
  Values got, expected;
  each_parameter(n, rnn, weights, [&](long at, int p, int l, int count, bool is_bias) {
    for (long i = 0; i < count; i++) got.push_back(get(type, gradients, at / (long) bytes_of(type) + i));
    for (double g : differences(is_bias ? in.bias[p][l] : in.matrix[p][l])) expected.push_back(2 * g);
  });
  close(e, got, expected, "gradients of weights, twice");
  for (Device d : {weights.data, workspace.data, reserve.data, dweights, x.data, y.data, dx.data, dy.data}) cu("cuMemFree_v2", d);
}

/** The mask of dropout stays for backward, and is another one in the next call. */
static void dropout() {
  Network n = {TANH, 2, 1, 2, 3, 8, 5, {5, 5, 5, 5}};
  void *drop, *rnn;
  size_t bytes, workspace_bytes, reserve_bytes;
  dnn("cudnnCreateDropoutDescriptor", &drop);
  dnn("cudnnDropoutGetStatesSize", dnn_handle, &bytes);
  Space numbers = space(bytes);
  auto seed = [&](unsigned long long s) { return dnn("cudnnSetDropoutDescriptor", drop, dnn_handle, 0.5f, numbers.data, numbers.bytes, s); };
  check(seed(7) == 0, "dropout");
  rnn = network(n, F64, drop);
  Sequences x(n, F64, SEQUENCE_MAJOR, 3, false), y(n, F64, SEQUENCE_MAJOR, 8, false), dx(n, F64, SEQUENCE_MAJOR, 3, false), dy(n, F64, SEQUENCE_MAJOR, 8, false);
  dnn("cudnnGetRNNWeightSpaceSize", dnn_handle, rnn, &bytes);
  dnn("cudnnGetRNNTempSpaceSizes", dnn_handle, rnn, 1, x.descriptor, &workspace_bytes, &reserve_bytes);
  Values w;
  for (size_t i = 0; i < bytes / 8; i++) w.push_back((rand() % 257 - 128) / 256.0);
  Space weights = {device(w), bytes}, workspace = space(workspace_bytes), reserve = space(reserve_bytes);
  Device none = nullptr;
  auto forward = [&](int training, Device from) {
    int e = dnn("cudnnRNNForward", dnn_handle, rnn, training, none, x.descriptor, from, y.descriptor, y.data, (void*) nullptr, none, none,
                (void*) nullptr, none, none, weights.bytes, weights.data, workspace.bytes, workspace.data, reserve.bytes, reserve.data);
    check(e == 0, "forward with dropout");
    return y.now_there(false);
  };
  Values first = forward(1, x.data), second = forward(1, x.data), still = forward(0, x.data);
  seed(7);
  check(forward(1, x.data) == first && second != first && still != first && forward(0, x.data) == still, "dropout by its seed, in training only");
  Values direction, plus = x.values, minus = x.values;
  for (size_t i = 0; i < x.values.size(); i++) {
    direction.push_back((rand() % 257 - 128) / 128.0);
    plus[i] += 1e-5 * direction[i];
    minus[i] -= 1e-5 * direction[i];
  }
  auto order = [&](const Values& v) {                              // (B, T, C) to (T, B, C)
    Values o(v.size());
    for (int b = 0; b < 4; b++) for (int t = 0; t < 5; t++) for (int i = 0; i < 3; i++) o[x.at(b, t) + i] = v[(b * 5 + t) * 3 + i];
    return o;
  };
  seed(9);
  double up = dot(forward(1, device(order(plus))), dy.values);
  seed(9);
  double down = dot(forward(1, device(order(minus))), dy.values);
  int e = dnn("cudnnRNNBackwardData_v8", dnn_handle, rnn, none, y.descriptor, y.data, dy.data, x.descriptor, dx.data, (void*) nullptr, none, none, none,
              (void*) nullptr, none, none, none, weights.bytes, weights.data, workspace.bytes, workspace.data, reserve.bytes, reserve.data);
  double slope = (up - down) / 2e-5, got = dot(dx.now_there(false), direction);
  check(e == 0 && std::fabs(slope - got) < 1e-3 * std::fabs(slope) && std::fabs(slope) > 1e-3, "the gradient through dropout");

  check(dnn("cudnnRNNForward", dnn_handle, rnn, 1, none, x.descriptor, x.data, y.descriptor, y.data, (void*) nullptr, none, none, (void*) nullptr, none,
            none, weights.bytes - 1, weights.data, workspace.bytes, workspace.data, reserve.bytes, reserve.data) == 2000, "too small a weight space is refused");
  check(dnn("cudnnRNNForward", dnn_handle, rnn, 1, none, y.descriptor, x.data, y.descriptor, y.data, (void*) nullptr, none, none, (void*) nullptr, none,
            none, weights.bytes, weights.data, workspace.bytes, workspace.data, reserve.bytes, reserve.data) == 2000, "vectors of another size are refused");
  check(dnn("cudnnRNNForward", dnn_handle, rnn, 1, none, x.descriptor, x.data, y.descriptor, y.data, (void*) nullptr, y.data, none, (void*) nullptr, none,
            none, weights.bytes, weights.data, workspace.bytes, workspace.data, reserve.bytes, reserve.data) == 2000, "a state without a descriptor is refused");
  Space other = space(reserve.bytes);
  e = dnn("cudnnRNNBackwardWeights_v8", dnn_handle, rnn, 0, none, x.descriptor, x.data, (void*) nullptr, none, y.descriptor, y.data, weights.bytes, weights.data,
          workspace.bytes, workspace.data, other.bytes, other.data);
  check(e == 0 && sync() == 719, "gradients of weights before those of data fault");
  restart();
  dnn("cudnnSetStream", dnn_handle, stream);
}

void recurrent() {
  run({LSTM, 2, 2, 2, 3, 4, 5, {5, 2, 3}}, F64, BATCH_MAJOR, true, true, "LSTM, f64, two directions and layers, captured");
  run({GRU, 2, 1, 2, 4, 3, 4, {4, 4}}, F32, SEQUENCE_MAJOR, false, false, "GRU, f32, without first states");
  run({GRU, 2, 2, 1, 2, 3, 4, {4, 2, 1}}, F64, PACKED, true, false, "GRU, f64, two directions, packed");
  run({TANH, 1, 1, 1, 3, 5, 4, {3, 4}}, F64, SEQUENCE_MAJOR, true, false, "tanh, f64, one bias");
  run({RELU, 0, 1, 2, 3, 4, 3, {3, 3}}, F64, BATCH_MAJOR, true, false, "ReLU, f64, no bias");
  run({LSTM, 2, 1, 1, 4, 6, 3, {3, 1}}, BF16, SEQUENCE_MAJOR, true, true, "LSTM, bf16, captured");
  dropout();
}
