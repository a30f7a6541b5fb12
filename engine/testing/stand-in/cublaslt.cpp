// libcublasLt.so.13, a stand-in: products by plain loops on the CPU, on the streams (and in the captures) of the stand-in
// driver. It refuses what cuBLASLt refuses: wrong sizes of attributes, shapes that do not fit, types that do not go
// together, pointers less aligned than the heuristic was told, too small a workspace. Attribute numbers and sizes are
// those of NVIDIA's documentation.
#include <cmath>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <vector>
#include "elements.h"

#define API extern "C" __attribute__((visibility("default")))

API int heddleStandInEnqueue(void* stream, const char* name, int (*run)(const void*), const void* arguments, size_t size);
API size_t heddleStandInDeviceBytes(const void* address);

namespace {

enum { OK = 0, NOT_INITIALIZED = 1, INVALID_VALUE = 7, EXECUTION_FAILED = 13, NOT_SUPPORTED = 15 };
enum { BF16 = 14 };
enum { RELU = 2, BIAS = 4, DRELU = 8, BGRAD = 16, GELU = 32, DGELU = 64, AUX = 128, BGRADA = 256, BGRADB = 512 };

struct Layout {
  int32_t type, order = 0, batch_count = 1;
  uint64_t rows, columns;
  int64_t ld, batch_stride = 0;
};

struct Operation {
  int32_t compute, scale, pointer_mode = 0, trans_a = 0, trans_b = 0, trans_c = 0, fill = 2, sm_target = 0;
  uint32_t epilogue = 1;
  char* bias = nullptr;
  int64_t bias_stride = 0;
  char* aux = nullptr;
  int64_t aux_ld = 0, aux_stride = 0;
  int32_t bias_type = -1, aux_type = -1;
  int8_t fast = 0;
};

struct Preference {
  uint64_t workspace = 0, implementations = ~0ull;
  uint32_t search = 0, reduction = ~0u, alignment[4] = {256, 256, 256, 256};
  float waves = 0;
};

const uint64_t ALGORITHM = 0x486564646c65416cull;      // marks what the heuristic wrote
struct Algorithm { uint64_t mark, workspace, alignment[4], types, serial; };
struct Heuristic { Algorithm algorithm; uint64_t workspace; int32_t state; float waves; int32_t reserved[4]; };
static_assert(sizeof(Algorithm) == 64 && sizeof(Heuristic) == 96, "cublasLtMatmulAlgo_t, cublasLtMatmulHeuristicResult_t");

int complain(int status, const char* format, ...) {
  char text[400];
  va_list list;
  va_start(list, format);
  vsnprintf(text, sizeof text, format, list);
  va_end(list);
  fprintf(stderr, "heddle stand-in: cuBLASLt status %d: %s\n", status, text);
  return status;
}

template <class T> int assign(T& to, const void* from, size_t size) {
  if (!from || size != sizeof(T)) return complain(INVALID_VALUE, "an attribute of %zu bytes set with %zu", sizeof(T), size);
  memcpy(&to, from, size);
  return OK;
}

// ---- elements

int64_t index_of(const Layout& l, int64_t row, int64_t column) {
  return l.order ? row * l.ld + column : column * l.ld + row;
}

size_t extent(const Layout& l) {               // bytes from the first to behind the last element
  if (!l.rows || !l.columns) return 0;
  int64_t last = index_of(l, l.rows - 1, l.columns - 1) + (l.batch_count > 1 ? l.batch_stride * (l.batch_count - 1) : 0);
  return (last + 1) * bytes_of(l.type);
}

// ---- the product

struct Product {
  Operation op;
  Layout a, b, c, d;
  const char *A, *B, *C;
  char *D, *workspace;
  double alpha, beta;
  const char *device_alpha, *device_beta;
  uint64_t workspace_bytes;
  bool keeps_nan;                              // cuBLASLt does not say what its relu does: one algorithm has each
};

const double GELU_SCALE = 0.7978845608028654, GELU_CUBE = 0.044715;   // cuBLASLt's GELU is the one by tanh

double gelu(double x) { return 0.5 * x * (1 + std::tanh(GELU_SCALE * (x + GELU_CUBE * x * x * x))); }
double gelu_slope(double x) {
  double t = std::tanh(GELU_SCALE * (x + GELU_CUBE * x * x * x));
  return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * GELU_SCALE * (1 + 3 * GELU_CUBE * x * x);
}

int multiply(const void* arguments) {
  Product p;
  memcpy(&p, arguments, sizeof p);
  const Operation& op = p.op;
  if (p.device_alpha) p.alpha = load(p.device_alpha, op.scale, 0);
  if (p.device_beta) p.beta = load(p.device_beta, op.scale, 0);
  memset(p.workspace, 0xff, p.workspace_bytes);        // nobody else's data may lie there
  int64_t m = p.d.rows, n = p.d.columns, k = op.trans_a ? p.a.rows : p.a.columns;
  uint32_t epilogue = op.epilogue;
  int bias_type = op.bias_type < 0 ? p.d.type : op.bias_type, aux_type = op.aux_type < 0 ? p.d.type : op.aux_type;
  std::vector<double> a(m * k), b(k * n), sum(n), gradient;
  for (int z = 0; z < p.d.batch_count; z++) {
    auto at = [z](const Layout& l) { return (l.batch_count > 1 ? z : 0) * l.batch_stride; };
    for (int64_t i = 0; i < m; i++) for (int64_t j = 0; j < k; j++)
      a[i * k + j] = load(p.A, p.a.type, at(p.a) + (op.trans_a ? index_of(p.a, j, i) : index_of(p.a, i, j)));
    for (int64_t i = 0; i < k; i++) for (int64_t j = 0; j < n; j++)
      b[i * n + j] = load(p.B, p.b.type, at(p.b) + (op.trans_b ? index_of(p.b, j, i) : index_of(p.b, i, j)));
    gradient.assign(epilogue & BGRADB ? n : m, 0);
    if (epilogue & BGRADA) for (int64_t i = 0; i < m; i++) for (int64_t j = 0; j < k; j++) gradient[i] += a[i * k + j];
    if (epilogue & BGRADB) for (int64_t i = 0; i < k; i++) for (int64_t j = 0; j < n; j++) gradient[j] += b[i * n + j];
    for (int64_t i = 0; i < m; i++) {
      std::fill(sum.begin(), sum.end(), 0.0);
      for (int64_t l = 0; l < k; l++) {
        double x = a[i * k + l];
        const double* row = &b[l * n];
        double* out = sum.data();
        for (int64_t j = 0; j < n; j++) out[j] += x * row[j];
      }
      for (int64_t j = 0; j < n; j++) {
        double v = p.alpha * sum[j];
        if (p.beta != 0) v += p.beta * load(p.C, p.c.type, at(p.c) + index_of(p.c, i, j));
        if (epilogue & BIAS) v += load(op.bias, bias_type, z * op.bias_stride + i);
        int64_t aux = z * op.aux_stride + j * op.aux_ld + i;
        if (epilogue & AUX && epilogue & GELU) store(op.aux, aux_type, aux, v);
        if (epilogue & AUX && epilogue & RELU) {
          char bit = (char) (1 << (aux & 7));
          op.aux[aux >> 3] = (char) (v > 0 ? op.aux[aux >> 3] | bit : op.aux[aux >> 3] & ~bit);
        }
        if (epilogue & RELU) v = v > 0 ? v : v != v && p.keeps_nan ? v : 0;
        if (epilogue & GELU) v = gelu(v);
        if (epilogue & DRELU) v = op.aux[aux >> 3] >> (aux & 7) & 1 ? v : 0;
        if (epilogue & DGELU) v *= gelu_slope(load(op.aux, aux_type, aux));
        if (epilogue & BGRAD) gradient[i] += v;
        store(p.D, p.d.type, at(p.d) + index_of(p.d, i, j), v);
      }
    }
    if (epilogue & (BGRAD | BGRADA | BGRADB))
      for (size_t i = 0; i < gradient.size(); i++) store(op.bias, bias_type, z * op.bias_stride + i, gradient[i]);
  }
  return 0;
}

bool usable(const Layout& l) {
  int64_t least = l.order ? l.columns : l.rows;
  return (l.order == 0 || l.order == 1) && l.ld >= least && l.batch_count >= 1
      && (l.type == F32 || l.type == F64 || l.type == F16 || l.type == BF16);
}

/** Whether cuBLASLt has this product at all; `why` says what is wrong. */
int judge(const Operation& op, const Layout& a, const Layout& b, const Layout& c, const Layout& d, const char*& why) {
  uint64_t m = op.trans_a ? a.columns : a.rows, k = op.trans_a ? a.rows : a.columns;
  uint64_t k2 = op.trans_b ? b.columns : b.rows, n = op.trans_b ? b.rows : b.columns;
  if (k != k2 || d.rows != m || d.columns != n || c.rows != m || c.columns != n) { why = "the shapes do not fit"; return INVALID_VALUE; }
  for (auto l : {&a, &b, &c, &d}) {
    if (!usable(*l)) { why = "a layout with a bad order, type, leading dimension or batch count"; return INVALID_VALUE; }
    if (l->batch_count != d.batch_count) { why = "the batch counts differ"; return INVALID_VALUE; }
  }
  why = "no such combination of types";
  if (a.type != b.type || c.type != d.type) return NOT_SUPPORTED;
  bool wide = a.type == F64;
  if (wide ? d.type != F64 : d.type != F32 && d.type != a.type) return NOT_SUPPORTED;
  bool compute64 = op.compute == 70 || op.compute == 71;
  bool compute32 = op.compute == 68 || op.compute == 69 || ((op.compute == 74 || op.compute == 75 || op.compute == 77) && a.type == F32);
  if (wide ? !compute64 || op.scale != F64 : !compute32 || op.scale != F32) return NOT_SUPPORTED;
  uint32_t e = op.epilogue;
  why = "no such epilogue";
  if (op.trans_c || op.fill != 2 || op.pointer_mode > 1) return NOT_SUPPORTED;
  static const uint32_t KNOWN[] = {1, 2, 130, 4, 6, 134, 136, 152, 32, 160, 36, 164, 192, 208, 256, 512};
  bool known = false;
  for (uint32_t x : KNOWN) known |= x == e;
  if (!known || (wide && e != 1)) return NOT_SUPPORTED;
  if (d.order && e != 1 && e != RELU && e != GELU) { why = "an epilogue with a vector needs column order"; return NOT_SUPPORTED; }
  return OK;
}

/** Whether the vector of an epilogue is where it may be: cuBLASLt's kernels load 16 bytes at once. */
bool vector_missing(const Operation& op) {
  return op.epilogue & (BIAS | BGRAD | BGRADA | BGRADB) && (!op.bias || (size_t) op.bias % 16);
}

uint64_t types_of(const Operation& op, const Layout& a, const Layout& d) { return (uint64_t) op.compute << 32 | a.type << 16 | d.type; }

int live_handle;

}  // namespace

// ---- the interface

API int cublasLtCreate(void** handle) { if (!handle) return INVALID_VALUE; *handle = &live_handle; return OK; }
API int cublasLtDestroy(void* handle) { return handle == &live_handle ? OK : INVALID_VALUE; }
API size_t cublasLtGetVersion() { return 130000; }
API size_t cublasLtGetCudartVersion() { return 13000; }
API const char* cublasLtGetStatusName(int status) {
  switch (status) {
    case OK: return "CUBLAS_STATUS_SUCCESS";
    case NOT_INITIALIZED: return "CUBLAS_STATUS_NOT_INITIALIZED";
    case 3: return "CUBLAS_STATUS_ALLOC_FAILED";
    case INVALID_VALUE: return "CUBLAS_STATUS_INVALID_VALUE";
    case 8: return "CUBLAS_STATUS_ARCH_MISMATCH";
    case 11: return "CUBLAS_STATUS_MAPPING_ERROR";
    case EXECUTION_FAILED: return "CUBLAS_STATUS_EXECUTION_FAILED";
    case 14: return "CUBLAS_STATUS_INTERNAL_ERROR";
    case NOT_SUPPORTED: return "CUBLAS_STATUS_NOT_SUPPORTED";
    case 16: return "CUBLAS_STATUS_LICENSE_ERROR";
    default: return "<unknown>";
  }
}
API const char* cublasLtGetStatusString(int status) {
  switch (status) {
    case OK: return "success";
    case NOT_INITIALIZED: return "the library was not initialized";
    case INVALID_VALUE: return "an unsupported value or parameter was passed to the function";
    case EXECUTION_FAILED: return "the GPU program failed to execute";
    case NOT_SUPPORTED: return "the functionality requested is not supported";
    default: return cublasLtGetStatusName(status);
  }
}

API int cublasLtMatmulDescCreate(void** out, int compute, int scale) {
  if (!out) return INVALID_VALUE;
  auto op = new Operation;
  op->compute = compute;
  op->scale = scale;
  *out = op;
  return OK;
}
API int cublasLtMatmulDescDestroy(void* op) { delete (Operation*) op; return OK; }
API int cublasLtMatmulDescSetAttribute(void* handle, int attribute, const void* from, size_t size) {
  if (!handle) return INVALID_VALUE;
  auto& op = *(Operation*) handle;
  switch (attribute) {
    case 0: return assign(op.compute, from, size);
    case 1: return assign(op.scale, from, size);
    case 2: return assign(op.pointer_mode, from, size);
    case 3: return assign(op.trans_a, from, size);
    case 4: return assign(op.trans_b, from, size);
    case 5: return assign(op.trans_c, from, size);
    case 6: return assign(op.fill, from, size);
    case 7: return assign(op.epilogue, from, size);
    case 8: return assign(op.bias, from, size);
    case 10: return assign(op.bias_stride, from, size);
    case 11: return assign(op.aux, from, size);
    case 12: return assign(op.aux_ld, from, size);
    case 13: return assign(op.aux_stride, from, size);
    case 15: return assign(op.sm_target, from, size);
    case 22: return assign(op.aux_type, from, size);
    case 25: return assign(op.fast, from, size);
    case 26: return assign(op.bias_type, from, size);
    default: return complain(INVALID_VALUE, "matmul attribute %d", attribute);
  }
}

API int cublasLtMatrixLayoutCreate(void** out, int type, uint64_t rows, uint64_t columns, int64_t ld) {
  if (!out) return INVALID_VALUE;
  auto l = new Layout;
  l->type = type;
  l->rows = rows;
  l->columns = columns;
  l->ld = ld;
  *out = l;
  return OK;
}
API int cublasLtMatrixLayoutDestroy(void* l) { delete (Layout*) l; return OK; }
API int cublasLtMatrixLayoutSetAttribute(void* handle, int attribute, const void* from, size_t size) {
  if (!handle) return INVALID_VALUE;
  auto& l = *(Layout*) handle;
  switch (attribute) {
    case 0: return assign(l.type, from, size);
    case 1: return assign(l.order, from, size);
    case 2: return assign(l.rows, from, size);
    case 3: return assign(l.columns, from, size);
    case 4: return assign(l.ld, from, size);
    case 5: return assign(l.batch_count, from, size);
    case 6: return assign(l.batch_stride, from, size);
    default: return complain(INVALID_VALUE, "layout attribute %d", attribute);
  }
}

API int cublasLtMatmulPreferenceCreate(void** out) { if (!out) return INVALID_VALUE; *out = new Preference; return OK; }
API int cublasLtMatmulPreferenceDestroy(void* p) { delete (Preference*) p; return OK; }
API int cublasLtMatmulPreferenceSetAttribute(void* handle, int attribute, const void* from, size_t size) {
  if (!handle) return INVALID_VALUE;
  auto& p = *(Preference*) handle;
  switch (attribute) {
    case 0: return assign(p.search, from, size);
    case 1: return assign(p.workspace, from, size);
    case 3: return assign(p.reduction, from, size);
    case 5: case 6: case 7: case 8: return assign(p.alignment[attribute - 5], from, size);
    case 9: return assign(p.waves, from, size);
    case 12: return assign(p.implementations, from, size);
    default: return complain(INVALID_VALUE, "preference attribute %d", attribute);
  }
}

/** Offers one algorithm without a workspace and, where the preference allows one, a second that wants 64 KiB. */
API int cublasLtMatmulAlgoGetHeuristic(void* handle, const Operation* op, const Layout* a, const Layout* b, const Layout* c,
                                       const Layout* d, const Preference* preference, int wanted, Heuristic* results, int* count) {
  if (handle != &live_handle || !op || !a || !b || !c || !d || !preference || !results || !count || wanted < 1) return INVALID_VALUE;
  *count = 0;
  const char* why;
  if (int status = judge(*op, *a, *b, *c, *d, why)) return complain(status, "heuristic: %s", why);
  if (vector_missing(*op)) return complain(INVALID_VALUE, "heuristic: the epilogue needs a bias pointer, aligned to 16 bytes");
  for (int i = 0; i < 2 && i < wanted; i++) {
    uint64_t workspace = i ? 65536 : 0;
    if (workspace > preference->workspace) break;
    Heuristic h = {};
    h.algorithm = {ALGORITHM, workspace, {}, types_of(*op, *a, *d), (uint64_t) i};
    for (int j = 0; j < 4; j++) h.algorithm.alignment[j] = preference->alignment[j] < 16 ? preference->alignment[j] : 16;
    h.workspace = workspace;
    h.waves = 1;
    results[(*count)++] = h;
  }
  return OK;
}

/** Whether an algorithm, of a file for example, can do a product; says its workspace as the heuristic does. */
API int cublasLtMatmulAlgoCheck(void* handle, const Operation* op, const Layout* a, const Layout* b, const Layout* c,
                                const Layout* d, const Algorithm* algorithm, Heuristic* result) {
  if (handle != &live_handle || !op || !a || !b || !c || !d || !algorithm || !result) return INVALID_VALUE;
  const char* why;
  if (int status = judge(*op, *a, *b, *c, *d, why)) return complain(status, "check: %s", why);
  if (algorithm->mark != ALGORITHM) return complain(INVALID_VALUE, "check: the algorithm was not made by the heuristic");
  if (algorithm->types != types_of(*op, *a, *d)) return NOT_SUPPORTED;
  *result = {};
  result->algorithm = *algorithm;
  result->workspace = algorithm->workspace;
  result->waves = 1;
  return OK;
}

API int cublasLtMatmul(void* handle, const Operation* op, const void* alpha, const char* A, const Layout* a, const char* B,
                       const Layout* b, const void* beta, const char* C, const Layout* c, char* D, const Layout* d,
                       const Algorithm* algorithm, char* workspace, size_t workspace_bytes, void* stream) {
  if (handle != &live_handle) return NOT_INITIALIZED;
  if (!op || !alpha || !a || !b || !beta || !c || !d) return INVALID_VALUE;
  const char* why;
  if (int status = judge(*op, *a, *b, *c, *d, why)) return complain(status, "matmul: %s", why);
  Product p = {*op, *a, *b, *c, *d, A, B, C, D, workspace, 0, 0, nullptr, nullptr, 0, true};
  if (op->pointer_mode) { p.device_alpha = (const char*) alpha; p.device_beta = (const char*) beta; }
  else { p.alpha = load((const char*) alpha, op->scale, 0); p.beta = load((const char*) beta, op->scale, 0); }
  bool reads_c = op->pointer_mode || p.beta != 0;
  const void* pointers[] = {A, B, reads_c ? C : D, D};
  const Layout* layouts[] = {a, b, reads_c ? c : d, d};
  if (reads_c && C == D && (c->order != d->order || c->ld != d->ld || c->batch_stride != d->batch_stride))
    return complain(INVALID_VALUE, "matmul: in place with two layouts");
  uint64_t alignment[4] = {16, 16, 16, 16};
  if (algorithm) {
    if (algorithm->mark != ALGORITHM) return complain(INVALID_VALUE, "matmul: the algorithm was not made by the heuristic");
    if (algorithm->types != types_of(*op, *a, *d)) return complain(INVALID_VALUE, "matmul: the algorithm is of other types");
    if (workspace_bytes < algorithm->workspace) return complain(INVALID_VALUE, "matmul: the workspace is too small");
    memcpy(alignment, algorithm->alignment, sizeof alignment);
    p.workspace_bytes = algorithm->workspace;
    p.keeps_nan = algorithm->serial == 1;
  }
  if ((size_t) workspace & 15 || (workspace_bytes && heddleStandInDeviceBytes(workspace) < workspace_bytes))
    return complain(INVALID_VALUE, "matmul: the workspace at %p is not 16-byte aligned or not device memory", (void*) workspace);
  for (int i = 0; i < 4; i++) {
    if ((size_t) pointers[i] % alignment[i])
      return complain(NOT_SUPPORTED, "matmul: %c at %p is aligned to less than %d bytes", "ABCD"[i], pointers[i], (int) alignment[i]);
    if (heddleStandInDeviceBytes(pointers[i]) < extent(*layouts[i]))
      return complain(EXECUTION_FAILED, "matmul: the %zu bytes of %c at %p are not all in one live block",
                      extent(*layouts[i]), "ABCD"[i], pointers[i]);
  }
  bool bias = op->epilogue & (BIAS | BGRAD | BGRADA | BGRADB), aux = op->epilogue & AUX;
  size_t length = (op->epilogue & BGRADB ? d->columns : d->rows) * bytes_of(op->bias_type < 0 ? d->type : op->bias_type);
  if (bias && (vector_missing(*op) || heddleStandInDeviceBytes(op->bias) < length))
    return complain(INVALID_VALUE, "matmul: the epilogue needs a bias pointer, aligned to 16 bytes, to %zu bytes", length);
  if (aux && (!heddleStandInDeviceBytes(op->aux) || op->aux_ld < (int64_t) d->rows))
    return complain(INVALID_VALUE, "matmul: the epilogue needs an auxiliary pointer and leading dimension");
  if (aux && op->aux_ld % (op->epilogue & (RELU | DRELU) ? 128 : 8))
    return complain(INVALID_VALUE, "matmul: the auxiliary leading dimension must be divisible by 8, of a ReLU mask by 128");
  return heddleStandInEnqueue(stream, "cublasLtMatmul", multiply, &p, sizeof p) ? EXECUTION_FAILED : OK;
}
