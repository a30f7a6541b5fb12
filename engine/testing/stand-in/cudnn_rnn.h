// The stand-in's recurrent networks: how weights, sequences and the reserve space are laid out, and the computation. A weight
// space holds, for each pseudo layer, the matrices of the input, then those of the state; behind those of all layers, the
// biases in the same order. Gates are in cuDNN's order: of an LSTM input, forget, cell, output; of a GRU reset, update, new.
// What forward keeps for backward lies in the reserve space as doubles.
#pragma once
#include "cudnn.h"

namespace {

enum { RELU = 0, TANH = 1, LSTM = 2, GRU = 3 };
enum { NO_BIAS = 0, INPUT_BIAS = 1, DOUBLE_BIAS = 2, STATE_BIAS = 3 };
enum { SEQUENCE_MAJOR = 0, PACKED = 1, BATCH_MAJOR = 2 };
const size_t HEADER = 8;                       // doubles before the records: what was done, and the number of records

struct Rnn : Object {
  static const Kind KIND = RNN;
  int cell, bias, directions, type, input, hidden, layers, flags;
  const Dropout* dropout;

  int gates() const { return cell == LSTM ? 4 : cell == GRU ? 3 : 1; }
  int pseudo_layers() const { return layers * directions; }
  int64_t width(int pseudo) const { return pseudo < directions ? input : (int64_t) hidden * directions; }
  /** Where a matrix is in the weight space, in elements; that of pseudo layer `pseudo_layers()` is the first bias. */
  int64_t matrix(int pseudo, int linear) const {
    int64_t at = 0, h = hidden;
    for (int p = 0; p < pseudo; p++) at += gates() * h * (width(p) + h);
    if (pseudo == pseudo_layers()) return at;
    return at + (linear < gates() ? linear * h * width(pseudo) : gates() * h * width(pseudo) + (linear - gates()) * h * h);
  }
  bool has_bias(int linear) const { return bias == DOUBLE_BIAS || bias == (linear < gates() ? INPUT_BIAS : STATE_BIAS); }
  int64_t bias_at(int pseudo, int linear) const {
    int64_t kinds = bias == NO_BIAS ? 0 : bias == DOUBLE_BIAS ? 2 : 1;
    return matrix(pseudo_layers(), 0) + (pseudo * kinds * gates() + (kinds == 2 ? linear : linear % gates())) * hidden;
  }
  size_t weight_bytes() const { return bias_at(pseudo_layers(), 0) * bytes_of(type); }
  /** Doubles of one step of a pseudo layer: gates, their gradients, output, LSTM's cell, GRU's state term, dropout's factor. */
  int64_t record() const { return (2 * gates() + 4) * (int64_t) hidden; }
};

struct RnnData : Object {
  static const Kind KIND = RNN_DATA;
  int type, layout, steps, batch, size;
  const int* lengths;                          // never freed, like descriptors
  bool fills;
  double padding;

  int64_t index(int t, int b) const {
    if (layout == SEQUENCE_MAJOR) return ((int64_t) t * batch + b) * size;
    if (layout == BATCH_MAJOR) return ((int64_t) b * steps + t) * size;
    int64_t before = b;
    for (int i = 0; i < batch; i++) before += lengths[i] < t ? lengths[i] : t;
    return before * size;
  }
  size_t bytes() const {
    int64_t vectors = (int64_t) steps * batch;
    if (layout == PACKED) vectors = index(steps, 0) / size;
    return vectors * size * bytes_of(type);
  }
  /** Behind the ends of sequences: the padding symbol, or NaN where cuDNN leaves it undefined. */
  void pad(char* p, bool output) const {
    if (layout == PACKED) return;
    for (int b = 0; b < batch; b++) for (int t = lengths[b]; t < steps; t++) for (int i = 0; i < size; i++)
      store(p, type, index(t, b) + i, output && fills ? padding : NAN);
  }
};

/** One network over one batch, while it runs. */
struct Run {
  Rnn r;
  RnnData x, y;
  int H, G, D;
  std::vector<double> weights;
  double* reserve;

  Run(const Rnn& r, const RnnData& x, const RnnData& y, const char* space, double* reserve)
      : r(r), x(x), y(y), H(r.hidden), G(r.gates()), D(r.directions), reserve(reserve) {
    weights.resize(r.weight_bytes() / bytes_of(r.type));
    if (space) for (size_t i = 0; i < weights.size(); i++) weights[i] = load(space, r.type, i);
  }

  double* record(int p, int t, int b) const { return reserve + HEADER + (((int64_t) p * x.steps + t) * x.batch + b) * r.record(); }
  double* gate(double* record) const { return record; }
  double* gradient(double* record) const { return record + G * H; }
  double* output(double* record) const { return record + 2 * G * H; }
  double* cell(double* record) const { return record + (2 * G + 1) * H; }
  double* state_term(double* record) const { return record + (2 * G + 2) * H; }
  double* drop(double* record) const { return record + (2 * G + 3) * H; }

  double bias(int p, int linear, int i) const { return r.has_bias(linear) ? weights[r.bias_at(p, linear) + i] : 0; }
  int time(int p, int step, int b) const { return p % D ? x.lengths[b] - 1 - step : step; }

  /** The input of a pseudo layer at a time: of `x`, or of both directions of the layer below. */
  std::vector<double> input(int p, int t, int b, const char* data) const {
    std::vector<double> v(r.width(p));
    for (size_t i = 0; i < v.size(); i++) {
      if (p < D) { v[i] = load(data, r.type, x.index(t, b) + i); continue; }
      double* below = record(p / D * D - D + (int) i / H, t, b);
      v[i] = output(below)[i % H] * drop(below)[i % H];
    }
    return v;
  }
  /** A state (layers, B, H), zeros if it is null. */
  std::vector<double> state(const char* data, int p, int b) const {
    std::vector<double> v(H);
    if (data) for (int i = 0; i < H; i++) v[i] = load(data, r.type, ((int64_t) p * x.batch + b) * H + i);
    return v;
  }
  void keep(char* data, int p, int b, const std::vector<double>& v) const {
    if (data) for (int i = 0; i < H; i++) store(data, r.type, ((int64_t) p * x.batch + b) * H + i, v[i]);
  }
  /** What the state was before a step. */
  std::vector<double> before(int p, int step, int b, const char* first, bool of_cell) const {
    if (!step) return state(first, p, b);
    double* last = record(p, time(p, step - 1, b), b);
    double* from = of_cell ? cell(last) : output(last);
    return std::vector<double>(from, from + H);
  }

  void step(double* out, int p, const std::vector<double>& in, std::vector<double>& h, std::vector<double>& c) {
    std::vector<double> a(G * H), s(G * H);
    int64_t width = r.width(p);
    for (int g = 0; g < G; g++) for (int i = 0; i < H; i++) {
      const double *w = &weights[r.matrix(p, g) + i * width], *u = &weights[r.matrix(p, G + g) + (int64_t) i * H];
      double sum = bias(p, g, i), of_state = bias(p, G + g, i);
      for (int64_t j = 0; j < width; j++) sum += w[j] * in[j];
      for (int j = 0; j < H; j++) of_state += u[j] * h[j];
      a[g * H + i] = sum;
      s[g * H + i] = of_state;
    }
    auto sigmoid = [](double v) { return 1 / (1 + std::exp(-v)); };
    for (int i = 0; i < H; i++) {
      double *gates = gate(out) + i, v;
      if (r.cell == LSTM) {
        for (int g : {0, 1, 3}) gates[g * H] = sigmoid(a[g * H + i] + s[g * H + i]);
        gates[2 * H] = std::tanh(a[2 * H + i] + s[2 * H + i]);
        c[i] = gates[H] * c[i] + gates[0] * gates[2 * H];
        v = gates[3 * H] * std::tanh(c[i]);
      } else if (r.cell == GRU) {
        for (int g : {0, 1}) gates[g * H] = sigmoid(a[g * H + i] + s[g * H + i]);
        state_term(out)[i] = s[2 * H + i];
        gates[2 * H] = std::tanh(a[2 * H + i] + gates[0] * s[2 * H + i]);
        v = (1 - gates[H]) * gates[2 * H] + gates[H] * h[i];
      } else {
        v = a[i] + s[i];
        v = r.cell == TANH ? std::tanh(v) : v > 0 || v != v ? v : 0;
        gates[0] = v;
      }
      output(out)[i] = h[i] = rounded(v, r.type);
      cell(out)[i] = c[i];
    }
  }

  void forward(const char* in, char* out, const char* hx, char* hy, const char* cx, char* cy, float probability, uint64_t* states) {
    for (int p = 0; p < r.pseudo_layers(); p++) for (int b = 0; b < x.batch; b++) {
      std::vector<double> h = state(hx, p, b), c = state(r.cell == LSTM ? cx : nullptr, p, b);
      bool last = p / D == r.layers - 1;
      for (int i = 0; i < x.lengths[b]; i++) {
        int t = time(p, i, b);
        double* to = record(p, t, b);
        step(to, p, input(p, t, b, in), h, c);
        for (int j = 0; j < H; j++) {
          drop(to)[j] = 1;
          if (probability > 0 && !last) {      // splitmix64 of the seed and the number of numbers so far
            uint64_t z = states[0] + ++states[1] * 0x9e3779b97f4a7c15;
            z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
            z = (z ^ z >> 27) * 0x94d049bb133111eb;
            bool dropped = (double) ((z ^ z >> 31) >> 11) / 9007199254740992.0 < probability;
            drop(to)[j] = dropped ? 0 : 1 / (1 - (double) probability);
          }
          if (last) store(out, r.type, y.index(t, b) + p % D * H + j, output(to)[j]);
        }
      }
      keep(hy, p, b, h);
      if (r.cell == LSTM) keep(cy, p, b, c);
    }
    y.pad(out, true);
  }

  /** From the gradient of a step's output and cell to those of its gates, and of the state and the cell before it. */
  void back(double* of, const std::vector<double>& h, const std::vector<double>& c, std::vector<double>& dh, std::vector<double>& dc, int p) {
    std::vector<double> to_state(G * H), direct(H);
    for (int i = 0; i < H; i++) {
      double *g = gate(of) + i, *d = gradient(of) + i;
      if (r.cell == LSTM) {
        double tanh_c = std::tanh(cell(of)[i]), cell_gradient = dc[i] + dh[i] * g[3 * H] * (1 - tanh_c * tanh_c);
        d[0] = cell_gradient * g[2 * H] * g[0] * (1 - g[0]);
        d[H] = cell_gradient * c[i] * g[H] * (1 - g[H]);
        d[2 * H] = cell_gradient * g[0] * (1 - g[2 * H] * g[2 * H]);
        d[3 * H] = dh[i] * tanh_c * g[3 * H] * (1 - g[3 * H]);
        dc[i] = cell_gradient * g[H];
      } else if (r.cell == GRU) {
        d[2 * H] = dh[i] * (1 - g[H]) * (1 - g[2 * H] * g[2 * H]);
        d[H] = dh[i] * (h[i] - g[2 * H]) * g[H] * (1 - g[H]);
        d[0] = d[2 * H] * state_term(of)[i] * g[0] * (1 - g[0]);
        direct[i] = dh[i] * g[H];
      } else {
        d[0] = r.cell == TANH ? dh[i] * (1 - g[0] * g[0]) : g[0] > 0 ? dh[i] : 0;
      }
      for (int k = 0; k < G; k++) to_state[k * H + i] = state_gradient(of, k, i);
    }
    dh = direct;
    for (int k = 0; k < G; k++) for (int i = 0; i < H; i++) {
      const double *u = &weights[r.matrix(p, G + k) + (int64_t) i * H], d = to_state[k * H + i];
      for (int j = 0; j < H; j++) dh[j] += d * u[j];
    }
  }
  /** The gradient of the state's term of a gate: a GRU multiplies that of its new gate by the reset gate. */
  double state_gradient(double* of, int g, int i) const {
    return gradient(of)[g * H + i] * (r.cell == GRU && g == 2 ? gate(of)[i] : 1);
  }

  void backward_data(const char* dy, char* dx, const char* hx, const char* dhy, char* dhx, const char* cx, const char* dcy, char* dcx) {
    for (int b = 0; b < x.batch; b++) {
      int length = x.lengths[b];
      std::vector<double> up((size_t) length * D * H);           // gradient of a layer's output
      for (int t = 0; t < length; t++) for (int i = 0; i < D * H; i++) up[t * D * H + i] = load(dy, r.type, y.index(t, b) + i);
      for (int layer = r.layers - 1; layer >= 0; layer--) {
        int64_t width = r.width(layer * D);
        std::vector<double> down(length * width);
        for (int p = layer * D; p < layer * D + D; p++) {
          std::vector<double> dh = state(dhy, p, b), dc = state(r.cell == LSTM ? dcy : nullptr, p, b);
          for (int i = length - 1; i >= 0; i--) {
            int t = time(p, i, b);
            double* of = record(p, t, b);
            for (int j = 0; j < H; j++) dh[j] += up[(t * D + p % D) * H + j];
            back(of, before(p, i, b, hx, false), before(p, i, b, r.cell == LSTM ? cx : nullptr, true), dh, dc, p);
            for (int g = 0; g < G; g++) for (int j = 0; j < H; j++) {
              const double *w = &weights[r.matrix(p, g) + j * width], d = gradient(of)[g * H + j];
              for (int64_t k = 0; k < width; k++) down[t * width + k] += d * w[k];
            }
          }
          keep(dhx, p, b, dh);
          if (r.cell == LSTM) keep(dcx, p, b, dc);
        }
        up = down;
        for (int64_t i = 0; i < (int64_t) up.size(); i++) {
          int t = (int) (i / width), at = (int) (i % width);
          if (layer) up[i] *= drop(record(layer * D - D + at / H, t, b))[at % H];
          else store(dx, r.type, x.index(t, b) + at, up[i]);
        }
      }
    }
    x.pad(dx, false);
  }

  /** Adds the gradients to `weights`, which hold nothing else in this direction. */
  void backward_weights(const char* in, const char* hx) {
    for (int p = 0; p < r.pseudo_layers(); p++) for (int b = 0; b < x.batch; b++) for (int i = 0; i < x.lengths[b]; i++) {
      int t = time(p, i, b);
      double* of = record(p, t, b);
      std::vector<double> from = input(p, t, b, in), h = before(p, i, b, hx, false);
      for (int g = 0; g < G; g++) for (int j = 0; j < H; j++) {
        double d = gradient(of)[g * H + j], ds = state_gradient(of, g, j);
        double *w = &weights[r.matrix(p, g) + j * from.size()], *u = &weights[r.matrix(p, G + g) + (int64_t) j * H];
        for (size_t k = 0; k < from.size(); k++) w[k] += d * from[k];
        for (int k = 0; k < H; k++) u[k] += ds * h[k];
        if (r.has_bias(g)) weights[r.bias_at(p, g) + j] += d;
        if (r.has_bias(G + g)) weights[r.bias_at(p, G + g) + j] += ds;
      }
    }
  }
};

}  // namespace
