// What the files of libcudnn.so.9 share. Work goes to the stream of the handle, so that it is queued, captured and replayed
// by the stand-in driver. Numbers of enumerations are those of cuDNN 9's documentation.
#pragma once
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>
#include "elements.h"

#define API extern "C" __attribute__((visibility("default")))

extern "C" int heddleStandInEnqueue(void* stream, const char* name, int (*run)(const void*), const void* arguments, size_t size);
extern "C" size_t heddleStandInDeviceBytes(const void* address);
extern "C" int cuStreamSynchronize(void* stream);

enum { OK = 0, NOT_INITIALIZED = 1001, BAD_PARAM = 2000, NOT_SUPPORTED = 3000, ALLOC_FAILED = 4003, EXECUTION_FAILED = 5000 };
enum { BF16 = 9 };
enum { NCHW = 0, NHWC = 1 };
enum { DIM_MAX = 8 };

/** Where a handle or a descriptor begins: what it is, 0 after it was destroyed. None is ever freed, so that this can be seen. */
struct Object {
  enum Kind : uint32_t {
    DEAD, HANDLE = 0x1badcafe, TENSOR, FILTER, CONVOLUTION, ACTIVATION, POOLING, DROPOUT, RNN, RNN_DATA
  } kind;
  bool set;
};

struct Handle : Object {
  static const Kind KIND = HANDLE;
  void* stream;
};

struct Tensor : Object {
  static const Kind KIND = TENSOR;
  int type, n;
  int64_t size[DIM_MAX], stride[DIM_MAX];
  int64_t count() const;
  bool same_sizes(const Tensor& other) const;
};

/** Filters as a tensor of logical sizes (K, C, kernel...), with the strides that the format means. */
struct Filter : Object {
  static const Kind KIND = FILTER;
  int format;
  Tensor tensor;
};

struct Activation : Object {
  static const Kind KIND = ACTIVATION;
  int mode, nan;
  double coefficient;
};

/** The states on the device: two numbers, the seed and how many numbers were drawn. */
struct Dropout : Object {
  static const Kind KIND = DROPOUT;
  float probability;
  uint64_t* states;
};

/** Remembers the call that is being made, for the texts of errors. */
extern thread_local const char* current_call;
#define BEGIN() current_call = __func__

/** Says on stderr and in cudnnGetLastErrorString what is wrong with the current call, and returns `status`. */
int fail(int status, const char* format, ...) __attribute__((format(printf, 2, 3)));

template <class T> int create(T** out) {
  if (!out) return fail(BAD_PARAM, "the place for the result is null");
  *out = new T();
  (*out)->kind = T::KIND;
  (*out)->set = T::KIND == Object::HANDLE;
  return OK;
}
template <class T> int destroy(T* object) {
  if (object && object->kind != T::KIND) return fail(BAD_PARAM, "%p is not alive, or is something else", (void*) object);
  if (object) object->kind = Object::DEAD;
  return OK;
}

bool live_object(const Object* object, Object::Kind kind, bool set, const char* name);
template <class T> bool live(const T* object, const char* name, bool set = true) {
  return live_object(object, T::KIND, set, name);
}
/** Leaves the function with BAD_PARAM unless the handle or descriptor is alive and has its contents. */
#define LIVE(x) if (!live(x, #x)) return BAD_PARAM
#define CHECK(x) if (int status_ = (x)) return status_

/** The value after it was stored and loaded. */
double rounded(double v, int type);

/** A factor on the host: a float, or a double if the tensors hold doubles. */
double factor(const void* p, int type);

/** 0 if `p` is aligned to elements and all bytes that the tensor reaches lie in one live block of device memory. */
int in_memory(const Tensor& t, const void* p, const char* name);
int in_memory(const void* p, size_t bytes, size_t alignment, const char* name);

/** All elements in the order of the dimensions. */
std::vector<double> read(const Tensor& t, const char* p);
/** `p = alpha values + beta p`; with a beta of 0, `p` is not read. */
void write(const Tensor& t, char* p, const double* values, double alpha, double beta);

/** 0 if all strides of dimensions longer than 1 are positive. */
int positive_strides(const Tensor& t, const char* name);

int queue(const Handle* handle, int (*run)(const void*), const void* arguments, size_t size);

/** Queues a closure that captures plain values, and returns nothing or an error of CUDA. It must make no calls of CUDA. */
template <class F> int submit(const Handle* handle, F work) {
  static_assert(std::is_trivially_copyable<F>::value, "it is copied as bytes");
  return queue(handle, [](const void* p) {
    if constexpr (std::is_void<decltype(work())>::value) return (*(const F*) p)(), 0;
    else return (*(const F*) p)();
  }, &work, sizeof work);
}
