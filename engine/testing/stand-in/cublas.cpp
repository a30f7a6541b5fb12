// libcublas.so.12, a stand-in: strided batched products, handed to the stand-in of cuBLASLt. JCuda's natives link to it.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <initializer_list>

#define API extern "C" __attribute__((visibility("default"))) int
#define LT extern "C" int

LT cublasLtCreate(void** handle);
LT cublasLtMatmulDescCreate(void** op, int compute, int scale);
LT cublasLtMatmulDescDestroy(void* op);
LT cublasLtMatmulDescSetAttribute(void* op, int attribute, const void* from, size_t size);
LT cublasLtMatrixLayoutCreate(void** layout, int type, uint64_t rows, uint64_t columns, int64_t ld);
LT cublasLtMatrixLayoutDestroy(void* layout);
LT cublasLtMatrixLayoutSetAttribute(void* layout, int attribute, const void* from, size_t size);
LT cublasLtMatmulPreferenceCreate(void** preference);
LT cublasLtMatmulPreferenceDestroy(void* preference);
LT cublasLtMatmulPreferenceSetAttribute(void* preference, int attribute, const void* from, size_t size);
LT cublasLtMatmulAlgoGetHeuristic(void* handle, const void* op, const void* a, const void* b, const void* c, const void* d,
                                  const void* preference, int wanted, void* results, int* count);
LT cublasLtMatmul(void* handle, const void* op, const void* alpha, const void* A, const void* a, const void* B, const void* b,
                  const void* beta, const void* C, const void* c, void* D, const void* d, const void* algorithm, void* workspace,
                  size_t workspace_bytes, void* stream);
extern "C" size_t heddleStandInDeviceBytes(const void* address);

enum { OK = 0, NOT_INITIALIZED = 1, INVALID_VALUE = 7 };

struct Handle { uint64_t mark; void* stream; };
static const uint64_t LIVE = 0x6865646c65637562ull;

static bool live(const Handle* handle) { return handle && handle->mark == LIVE; }

API cublasCreate_v2(Handle** handle) {
  if (!handle) return INVALID_VALUE;
  *handle = new Handle{LIVE, nullptr};
  return OK;
}
API cublasDestroy_v2(Handle* handle) {
  if (!live(handle)) return NOT_INITIALIZED;
  handle->mark = 0;
  delete handle;
  return OK;
}
API cublasGetVersion_v2(Handle* handle, int* version) { return live(handle) ? *version = 120604, OK : NOT_INITIALIZED; }
API cublasSetStream_v2(Handle* handle, void* stream) { return live(handle) ? handle->stream = stream, OK : NOT_INITIALIZED; }
API cublasSetWorkspace_v2(Handle* handle, void* workspace, size_t bytes) {
  if (!live(handle)) return NOT_INITIALIZED;
  if ((size_t) workspace % 256 || heddleStandInDeviceBytes(workspace) < bytes) {
    fprintf(stderr, "heddle stand-in: cublasSetWorkspace: %zu bytes at %p are not 256-byte aligned device memory\n", bytes, workspace);
    return INVALID_VALUE;
  }
  return OK;
}

static void* layout(int type, int64_t rows, int64_t columns, int64_t ld, int64_t batches, int64_t stride) {
  void* l;
  cublasLtMatrixLayoutCreate(&l, type, rows, columns, ld);
  int count = (int) batches;
  cublasLtMatrixLayoutSetAttribute(l, 5, &count, sizeof count);
  cublasLtMatrixLayoutSetAttribute(l, 6, &stride, sizeof stride);
  return l;
}

API cublasGemmStridedBatchedEx_64(Handle* handle, int trans_a, int trans_b, int64_t m, int64_t n, int64_t k, const void* alpha,
                                  const void* A, int a_type, int64_t lda, long long stride_a, const void* B, int b_type, int64_t ldb,
                                  long long stride_b, const void* beta, void* C, int c_type, int64_t ldc, long long stride_c,
                                  int64_t batches, int compute, int choice) {
  if (!live(handle)) return NOT_INITIALIZED;
  if (choice != -1 || batches < 0) return INVALID_VALUE;
  void *lt, *op;
  cublasLtCreate(&lt);
  cublasLtMatmulDescCreate(&op, compute, compute == 70 || compute == 71 ? 1 : 0);
  cublasLtMatmulDescSetAttribute(op, 3, &trans_a, sizeof trans_a);
  cublasLtMatmulDescSetAttribute(op, 4, &trans_b, sizeof trans_b);
  void* a = trans_a ? layout(a_type, k, m, lda, batches, stride_a) : layout(a_type, m, k, lda, batches, stride_a);
  void* b = trans_b ? layout(b_type, n, k, ldb, batches, stride_b) : layout(b_type, k, n, ldb, batches, stride_b);
  void* c = layout(c_type, m, n, ldc, batches, stride_c);
  void* preference;
  cublasLtMatmulPreferenceCreate(&preference);
  uint32_t alignment = 2;                      // of an element: cuBLAS takes any
  for (int attribute = 5; attribute <= 8; attribute++)
    cublasLtMatmulPreferenceSetAttribute(preference, attribute, &alignment, sizeof alignment);
  alignas(8) char algorithm[96];               // cublasLtMatmulHeuristicResult_t, which begins with the algorithm
  int count = 0;
  int status = cublasLtMatmulAlgoGetHeuristic(lt, op, a, b, c, c, preference, 1, algorithm, &count);
  if (!status) status = cublasLtMatmul(lt, op, alpha, A, a, B, b, beta, C, c, C, c, algorithm, nullptr, 0, handle->stream);
  cublasLtMatmulPreferenceDestroy(preference);
  for (void* l : {a, b, c}) cublasLtMatrixLayoutDestroy(l);
  cublasLtMatmulDescDestroy(op);
  return status;
}
