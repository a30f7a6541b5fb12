// One warp multiplies a 16x16 by a 16x8 tile through cp.async, ldmatrix and mma, in bf16 and f16.
struct bf16 { unsigned short bits; };
struct f16 { unsigned short bits; };
#include "cuda_host_ptx.h"

template <class T> __device__ void tile(float* d, const T* a, const T* b, bool b_by_columns) {
  DYNAMIC_SHARED(unsigned char, memory);
  T *as = (T*) memory, *bs = as + 256;             // a: 16 rows of 16; b: 16 rows of 8, or 8 columns of 16
  int lane = threadIdx.x;
  cp_async_16(as + lane * 8, a + lane * 8, true);
  cp_async_16(bs + (lane & 15) * 8, b + (lane & 15) * 8, true);
  cp_async_commit();
  cp_async_wait<0>();
  __syncthreads();
  unsigned ra[4], rb[2];
  float sum[4] = {0, 0, 0, 0};
  ldmatrix_x4(ra, as + (lane & 15) * 16 + (lane >> 4) * 8);
  if (b_by_columns) ldmatrix_x2(rb, bs + (lane & 7) * 16 + (lane >> 3 & 1) * 8);
  else ldmatrix_x2_trans(rb, bs + (lane & 15) * 8);
  mma_16816(sum, ra, rb, T());
  int row = lane >> 2, column = (lane & 3) * 2;
  d[row * 8 + column] = sum[0];
  d[row * 8 + column + 1] = sum[1];
  d[(row + 8) * 8 + column] = sum[2];
  d[(row + 8) * 8 + column + 1] = sum[3];
}
extern "C" __global__ void __launch_bounds__(32) tile_bf16(float* d, const bf16* a, const bf16* b, int b_by_columns) {
  tile(d, a, b, b_by_columns);
}
extern "C" __global__ void __launch_bounds__(32) tile_f16(float* d, const f16* a, const f16* b, int b_by_columns) {
  tile(d, a, b, b_by_columns);
}

extern "C" __global__ void to_halves(bf16* b, f16* f, const float* x, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) { b[i] = to_bf16(x[i]); f[i] = to_f16(x[i]); }
}
extern "C" __global__ void from_halves(float* b, float* f, int n) {     // every bit pattern
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  b[i] = to_float(bf16{(unsigned short) i});
  f[i] = to_float(f16{(unsigned short) i});
}
extern "C" __global__ void forgets_wait(float* y, const float* x) {
  DYNAMIC_SHARED(float, s);
  cp_async_16(s + 4 * threadIdx.x, x + 4 * threadIdx.x, true);
  cp_async_commit();
  y[threadIdx.x] = s[4 * threadIdx.x];
  cp_async_wait<0>();
}
