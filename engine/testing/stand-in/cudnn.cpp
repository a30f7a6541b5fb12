// libcudnn.so.9, a stand-in: plain loops in f64 over the stand-in driver's memory. This file: handles, errors, descriptors
// of tensors, filters, activations and dropout, and how elements are read and written.
#include "cudnn.h"

#include <cstdarg>
#include <cstdio>

extern "C" int cuMemAlloc_v2(char** out, size_t n);
extern "C" int cuMemFree_v2(char* p);

thread_local const char* current_call = "";
static thread_local char last_error[600];

int fail(int status, const char* format, ...) {
  int n = snprintf(last_error, sizeof last_error, "%s: ", current_call);
  va_list list;
  va_start(list, format);
  vsnprintf(last_error + n, sizeof last_error - n, format, list);
  va_end(list);
  fprintf(stderr, "heddle stand-in: cuDNN status %d: %s\n", status, last_error);
  return status;
}

bool live_object(const Object* object, Object::Kind kind, bool set, const char* name) {
  if (!object) fail(BAD_PARAM, "%s is null", name);
  else if (object->kind != kind) fail(BAD_PARAM, "%s is not alive, or is something else", name);
  else if (set && !object->set) fail(BAD_PARAM, "%s was created but not set", name);
  else return true;
  return false;
}

int queue(const Handle* handle, int (*run)(const void*), const void* arguments, size_t size) {
  int e = heddleStandInEnqueue(handle->stream, current_call, run, arguments, size);
  return e ? fail(EXECUTION_FAILED, "CUDA's error %d", e) : OK;
}

// ---- elements

double rounded(double v, int type) {
  char bytes[8];
  store(bytes, type, 0, v);
  return load(bytes, type, 0);
}

double factor(const void* p, int type) { return load((const char*) p, type == F64 ? F64 : F32, 0); }

int64_t Tensor::count() const {
  int64_t product = 1;
  for (int i = 0; i < n; i++) product *= size[i];
  return product;
}

bool Tensor::same_sizes(const Tensor& other) const {
  if (n != other.n) return false;
  for (int i = 0; i < n; i++) if (size[i] != other.size[i]) return false;
  return true;
}

/** Calls `f` with the offset of each element, in the order of the dimensions. */
template <class F> static void each(const Tensor& t, F f) {
  int64_t at[DIM_MAX] = {}, offset = 0, last = t.n - 1;
  for (int64_t left = t.count() / t.size[last]; left > 0; left--) {
    for (int64_t i = 0; i < t.size[last]; i++) f(offset + i * t.stride[last]);
    for (int64_t d = last - 1; d >= 0; d--) {
      offset += t.stride[d];
      if (++at[d] < t.size[d]) break;
      offset -= at[d] * t.stride[d];
      at[d] = 0;
    }
  }
}

std::vector<double> read(const Tensor& t, const char* p) {
  std::vector<double> values(t.count());
  double* out = values.data();
  each(t, [&](int64_t i) { *out++ = load(p, t.type, i); });
  return values;
}

void write(const Tensor& t, char* p, const double* values, double alpha, double beta) {
  each(t, [&](int64_t i) {
    double v = alpha * *values++;
    store(p, t.type, i, beta == 0 ? v : v + beta * load(p, t.type, i));
  });
}

int in_memory(const void* p, size_t bytes, size_t alignment, const char* name) {
  if (!p) return fail(BAD_PARAM, "%s is null", name);
  if ((size_t) p % alignment) return fail(BAD_PARAM, "%s at %p is not aligned to %zu bytes", name, p, alignment);
  if (heddleStandInDeviceBytes(p) < bytes)
    return fail(EXECUTION_FAILED, "the %zu bytes of %s at %p are not all in one live block", bytes, name, p);
  return OK;
}

int in_memory(const Tensor& t, const void* p, const char* name) {
  int64_t last = 0;
  for (int i = 0; i < t.n; i++) last += (t.size[i] - 1) * t.stride[i];
  return in_memory(p, (last + 1) * bytes_of(t.type), bytes_of(t.type), name);
}

int positive_strides(const Tensor& t, const char* name) {
  for (int i = 0; i < t.n; i++)
    if (t.size[i] > 1 && t.stride[i] <= 0) return fail(NOT_SUPPORTED, "%s has a stride of %lld", name, (long long) t.stride[i]);
  return OK;
}

// ---- the library

API size_t cudnnGetVersion() { return 91900; }
API size_t cudnnGetCudartVersion() { return 13000; }
API const char* cudnnGetErrorString(int status) {
  switch (status) {
    case OK: return "CUDNN_STATUS_SUCCESS";
    case NOT_INITIALIZED: return "CUDNN_STATUS_NOT_INITIALIZED";
    case BAD_PARAM: return "CUDNN_STATUS_BAD_PARAM";
    case NOT_SUPPORTED: return "CUDNN_STATUS_NOT_SUPPORTED";
    case ALLOC_FAILED: return "CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED";
    case EXECUTION_FAILED: return "CUDNN_STATUS_EXECUTION_FAILED";
    default: return "CUDNN_UNKNOWN_STATUS";
  }
}
/** Answers once: the text is cleared. */
API void cudnnGetLastErrorString(char* message, size_t size) {
  if (!message || !size) return;
  snprintf(message, size, "%s", last_error);
  *last_error = 0;
}

/** cuDNN allocates device memory here: it needs a context, and spoils a capture. */
API int cudnnCreate(Handle** out) {
  BEGIN();
  char* p;
  if (int e = cuMemAlloc_v2(&p, 1)) return fail(NOT_INITIALIZED, "CUDA's error %d", e);
  cuMemFree_v2(p);
  return create(out);
}
API int cudnnDestroy(Handle* handle) { BEGIN(); return destroy(handle); }
API int cudnnSetStream(Handle* handle, void* stream) {
  BEGIN();
  LIVE(handle);
  handle->stream = stream;
  return OK;
}
API int cudnnGetStream(Handle* handle, void** stream) {
  BEGIN();
  LIVE(handle);
  *stream = handle->stream;
  return OK;
}

// ---- descriptors

static int known_type(int type) {
  return type == F32 || type == F64 || type == F16 || type == BF16 ? OK : fail(NOT_SUPPORTED, "the stand-in has no data type %d", type);
}

static int set_sizes(Tensor* t, int type, int n, const int* sizes) {
  CHECK(known_type(type));
  if (n < 3 || n > DIM_MAX) return fail(NOT_SUPPORTED, "%d dimensions are not 3 to 8", n);
  int64_t count = 1;
  for (int i = 0; i < n; i++) {
    if (sizes[i] <= 0) return fail(BAD_PARAM, "size %d of dimension %d is not positive", sizes[i], i);
    if ((count *= sizes[i]) >= 1ll << 31) return fail(NOT_SUPPORTED, "more than 2 Gi elements");
  }
  for (int i = 0; i < n; i++) t->size[i] = sizes[i];
  t->kind = Object::TENSOR;
  t->set = true;
  t->type = type;
  t->n = n;
  return OK;
}

API int cudnnCreateTensorDescriptor(Tensor** out) { BEGIN(); return create(out); }
API int cudnnDestroyTensorDescriptor(Tensor* t) { BEGIN(); return destroy(t); }
API int cudnnSetTensorNdDescriptor(Tensor* tensor, int type, int n, const int* sizes, const int* strides) {
  BEGIN();
  if (!live(tensor, "tensorDesc", false)) return BAD_PARAM;
  if (!sizes || !strides) return fail(BAD_PARAM, "no sizes or strides");
  CHECK(set_sizes(tensor, type, n, sizes));
  for (int i = 0; i < n; i++) tensor->stride[i] = strides[i];
  return OK;
}
API int cudnnGetTensorNdDescriptor(const Tensor* tensor, int wanted, int* type, int* n, int* sizes, int* strides) {
  BEGIN();
  LIVE(tensor);
  *type = tensor->type;
  *n = tensor->n;
  for (int i = 0; i < wanted && i < tensor->n; i++) {
    sizes[i] = (int) tensor->size[i];
    strides[i] = (int) tensor->stride[i];
  }
  return OK;
}

API int cudnnCreateFilterDescriptor(Filter** out) { BEGIN(); return create(out); }
API int cudnnDestroyFilterDescriptor(Filter* f) { BEGIN(); return destroy(f); }
API int cudnnSetFilterNdDescriptor(Filter* filter, int type, int format, int n, const int* sizes) {
  BEGIN();
  if (!live(filter, "filterDesc", false)) return BAD_PARAM;
  if (!sizes) return fail(BAD_PARAM, "no sizes");
  if (format != NCHW && format != NHWC) return fail(NOT_SUPPORTED, "the stand-in has no format %d", format);
  Tensor& t = filter->tensor;
  CHECK(set_sizes(&t, type, n, sizes));
  int64_t product = format == NHWC ? sizes[1] : 1;
  t.stride[1] = 1;
  for (int i = n - 1; i > (format == NHWC ? 1 : -1); i--) {
    t.stride[i] = product;
    product *= sizes[i];
  }
  t.stride[0] = t.count() / sizes[0];
  filter->format = format;
  filter->set = true;
  return OK;
}

API int cudnnCreateActivationDescriptor(Activation** out) { BEGIN(); return create(out); }
API int cudnnDestroyActivationDescriptor(Activation* a) { BEGIN(); return destroy(a); }
API int cudnnSetActivationDescriptor(Activation* activation, int mode, int nan, double coefficient) {
  BEGIN();
  if (!live(activation, "activationDesc", false)) return BAD_PARAM;
  if (mode < 0 || mode > 6 || nan < 0 || nan > 1) return fail(BAD_PARAM, "mode %d, NaN propagation %d", mode, nan);
  activation->mode = mode;
  activation->nan = nan;
  activation->coefficient = coefficient;
  activation->set = true;
  return OK;
}

const size_t DROPOUT_STATES = 1 << 16;
API int cudnnCreateDropoutDescriptor(Dropout** out) { BEGIN(); return create(out); }
API int cudnnDestroyDropoutDescriptor(Dropout* d) { BEGIN(); return destroy(d); }
API int cudnnDropoutGetStatesSize(const Handle* handle, size_t* bytes) {
  BEGIN();
  LIVE(handle);
  *bytes = DROPOUT_STATES;
  return OK;
}
API int cudnnSetDropoutDescriptor(Dropout* dropout, const Handle* handle, float probability, uint64_t* states, size_t bytes,
                                  unsigned long long seed) {
  BEGIN();
  if (!live(dropout, "dropoutDesc", false)) return BAD_PARAM;
  LIVE(handle);
  if (!(probability >= 0 && probability <= 1)) return fail(BAD_PARAM, "a probability of %g", probability);
  dropout->probability = probability;
  dropout->states = states;
  dropout->set = true;
  if (!states) return OK;                      // enough for a probability of 0
  if (bytes < DROPOUT_STATES) return fail(BAD_PARAM, "the states need %zu bytes, not %zu", DROPOUT_STATES, bytes);
  CHECK(in_memory(states, bytes, 8, "states"));
  return submit(handle, [=] { states[0] = seed; states[1] = 0; });
}
