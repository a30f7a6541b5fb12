// What the checks of the cuDNN stand-in share: tensors of any type and order in memory, with their values as doubles.
#pragma once
#include "smoke.h"

enum { F32 = 0, F64 = 1, F16 = 2, BF16 = 9 };
enum { NCHW, NHWC, GAPS };
typedef std::vector<double> Values;
typedef std::vector<int> Sizes;

inline void* dnn_handle;
template <class... A> int dnn(const char* name, A... a) { return call(dnn_library, name, a...); }
inline std::string dnn_error() { char text[600]; ((void (*)(char*, size_t)) dlsym(dnn_library, "cudnnGetLastErrorString"))(text, sizeof text); return text; }

inline double epsilon_of(int type) { return type == F64 ? 1e-14 : type == F32 ? 3e-7 : type == F16 ? 1e-3 : 8e-3; }
inline size_t bytes_of(int type) { return type == F64 ? 8 : type == F32 ? 4 : 2; }
inline long count_of(const Sizes& s) { long n = 1; for (int i : s) n *= i; return n; }

inline double get(int type, const std::vector<char>& b, long i) {
  if (type == F64) return ((const double*) b.data())[i];
  if (type == F32) return ((const float*) b.data())[i];
  uint16_t h = ((const uint16_t*) b.data())[i];
  return type == BF16 ? from_bf16(h) : from_f16(h);
}
/** Cuts off what the type has no room for; who needs the value as it is stored reads it back. */
inline void put(int type, std::vector<char>& b, long i, double v) {
  if (type == F64) { ((double*) b.data())[i] = v; return; }
  if (type == F32) { ((float*) b.data())[i] = (float) v; return; }
  float f = (float) v;
  uint32_t u;
  memcpy(&u, &f, 4);
  bool tiny = std::fabs(v) < 1e-3;
  ((uint16_t*) b.data())[i] = tiny ? 0 : type == BF16 ? u >> 16 : (u >> 16 & 0x8000) | ((u & 0x7fffffff) - 0x38000000) >> 13;
}

/** A factor as cuDNN wants it: a float, of doubles a double. */
struct Factor {
  double wide;
  float narrow;
  int type;
  Factor(double v, int type) : wide(v), narrow((float) v), type(type) {}
  const void* p() const { return type == F64 ? (const void*) &wide : &narrow; }
};

/** A tensor on the device whose values, in the order of its dimensions, are known here. */
struct Field {
  int type;
  Sizes size, stride;
  Values values;
  Device data;
  void* descriptor = nullptr;

  Field(int type, Sizes size, int order, bool filter = false, double low = -2, double high = 2) : type(type), size(size), stride(size.size()) {
    long product = 1, n = count_of(size), dims = (long) size.size();
    std::vector<int> by;
    for (int i = (int) dims - 1; i > 1; i--) by.push_back(i);
    by.insert(order == NHWC ? by.begin() : by.end(), 1);
    by.push_back(0);
    if (order == GAPS) product = 2;
    for (int d : by) {
      stride[d] = (int) product;
      product *= size[d] + (order == GAPS);
    }
    for (long i = 0; i < n; i++) values.push_back(low + (high - low) * (rand() % 257) / 256.0);
    std::vector<char> bytes(product * bytes_of(type), (char) 0xff);
    for (long i = 0; i < n; i++) put(type, bytes, offset(i), values[i]);
    for (long i = 0; i < n; i++) values[i] = get(type, bytes, offset(i));
    data = device(bytes);
    if (filter) {
      dnn("cudnnCreateFilterDescriptor", &descriptor);
      check_quietly(dnn("cudnnSetFilterNdDescriptor", descriptor, type, order, (int) dims, (const int*) size.data()));
    } else {
      dnn("cudnnCreateTensorDescriptor", &descriptor);
      check_quietly(dnn("cudnnSetTensorNdDescriptor", descriptor, type, (int) dims, (const int*) size.data(), (const int*) stride.data()));
    }
    extent = product;
  }
  static void check_quietly(int status) { if (status) printf("FAIL a descriptor: %d\n", status), failures++; }

  long offset(long i) const {
    long at = 0;
    for (int d = (int) size.size() - 1; d >= 0; d--) { at += i % size[d] * stride[d]; i /= size[d]; }
    return at;
  }
  Values now_there() const {
    auto bytes = host<char>(data, extent * bytes_of(type));
    Values v;
    for (long i = 0; i < count_of(size); i++) v.push_back(get(type, bytes, offset(i)));
    return v;
  }
  /** The worst error on the device, relative to the largest expected value. */
  double error(const Values& expected) const {
    Values v = now_there();
    double worst = 0, largest = 1e-30;
    for (double e : expected) largest = std::fmax(largest, std::fabs(e));
    for (size_t i = 0; i < v.size(); i++) {
      double e = std::fabs(v[i] - expected[i]);
      worst = e == e ? std::fmax(worst, e) : 1e30;
    }
    return worst / largest;
  }
  long extent;
};

/** Runs what `work` queues, captured into a graph or not. */
template <class W> int maybe_captured(bool captured, W work) {
  if (!captured) return work();
  void *graph, *executable;
  cu("cuStreamBeginCapture_v2", stream, 1);
  int status = work();
  int e = cu("cuStreamEndCapture", stream, &graph);
  if (e || status) return status ? status : e;
  cu("cuGraphInstantiateWithFlags", &executable, graph, 0ull);
  cu("cuGraphLaunch", executable, stream);
  cu("cuGraphExecDestroy", executable);
  return cu("cuGraphDestroy", graph);
}

inline void report(int status, double error, int type, const std::string& what) {
  char line[200];
  snprintf(line, sizeof line, "cudnn %s: status %d, worst error %.1e", what.c_str(), status, error);
  check(status == 0 && error <= epsilon_of(type), line);
}

void convolutions();                                           // cudnn_convolution.cpp
void poolings();                                               // cudnn_layers.cpp
void batch_norms();
void recurrent();                                              // cudnn_rnn.cpp
