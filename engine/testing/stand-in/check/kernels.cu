// Kernels of the smoke test: plain, shuffles and static shared memory, dynamic shared memory, and faults.
typedef unsigned int uint32_t;
#define ADD(T, name)                                                                                                 \
  extern "C" __global__ void __launch_bounds__(32 * 8) add_##name(T* c, const T* __restrict__ a, const T* b, int n) { \
    int i = blockIdx.x * blockDim.x + threadIdx.x;                                                                   \
    if (i < n) c[i] = a[i] + b[i];                                                                                   \
  }
ADD(float, f32)
ADD(double, f64)
// extern "C" __global__ void in_a_comment(int n) {}

template <int N> __device__ __forceinline__ float block_sum(float v) {
  __shared__ float part[N];
  #pragma unroll
  for (int o = 16; o; o >>= 1) v += __shfl_xor_sync(0xffffffffu, v, o);
  if ((threadIdx.x & 31) == 0) part[threadIdx.x >> 5] = v;
  __syncthreads();
  v = 0;
  for (int i = 0; i < N; i++) v += part[i];
  __syncthreads();
  return v;
}
extern "C" __global__ void softmax_row(float* y, const float* x, int columns) {  // a row a block of 256
  const float* in = x + (size_t) blockIdx.x * columns;
  float* out = y + (size_t) blockIdx.x * columns;
  float most = -__int_as_float(0x7f800000), sum = 0;
  for (int i = 0; i < columns; i++) most = fmaxf(most, in[i]);
  for (int i = threadIdx.x; i < columns; i += blockDim.x) sum += __expf(in[i] - most);
  sum = block_sum<8>(sum);
  for (int i = threadIdx.x; i < columns; i += blockDim.x) out[i] = __expf(in[i] - most) / sum;
}
extern "C" __global__ void reverse_block(float* y, const float* x) {
  DYNAMIC_SHARED(float, buffer);
  buffer[threadIdx.x] = x[blockIdx.x * blockDim.x + threadIdx.x];
  __syncthreads();
  y[blockIdx.x * blockDim.x + threadIdx.x] = buffer[blockDim.x - 1 - threadIdx.x];
}
extern "C" __global__ void collectives(uint32_t* bad) {                           // one block of 64
  int lane = threadIdx.x & 31, wrong = 0;
  wrong += __ballot_sync(0xffffffffu, lane % 3 == 0) != 0x49249249u;
  wrong += __shfl_down_sync(0xffffffffu, lane, 5) != (lane + 5 > 31 ? lane : lane + 5);
  wrong += __shfl_up_sync(0xffffffffu, (long long) lane << 40, 1) != (long long) (lane ? lane - 1 : 0) << 40;
  wrong += __shfl_sync(0xffffffffu, (double) lane, 7, 8) != (lane | 7);
  if (lane < 16) wrong += __shfl_xor_sync(0x0000ffffu, lane, 3) != (lane ^ 3);
  else wrong += !__any_sync(0xffff0000u, lane == 20);
  __syncwarp();
  wrong += __all_sync(0xffffffffu, lane < 31) != 0;
  wrong += __umulhi(0x80000000u, 6) != 3 || __clz(1) != 31 || __ffs(8) != 4 || __popc(255) != 8 || __brev(1) != 0x80000000u;
  wrong += min(-1, 1) != -1 || max(1.0f, 2.0f) != 2.0f || exp(0.0f) != 1.0f || rsqrtf(4.0f) != 0.5f || !isnan(0.0f / 0.0f);
  atomicAdd(bad, (uint32_t) wrong);
  atomicAdd(bad + 1, 1u);
}
struct Pair { char tag; float4 value; };
extern "C" __global__ void parameters(float* out, char c, Pair p, short s, double d) {
  out[0] = c; out[1] = p.tag; out[2] = p.value.w; out[3] = s; out[4] = (float) d;
}
extern "C" __global__ void forgets_barrier(float* y) {
  __shared__ float buffer[64];
  buffer[threadIdx.x] = 1;
  y[threadIdx.x] = buffer[63 - threadIdx.x];
}
extern "C" __global__ void diverges(float* y) {
  if ((threadIdx.x & 1) == 0) __syncthreads();
  y[threadIdx.x] = __shfl_xor_sync(0xffffffffu, 1.0f, 1);
}
extern "C" __global__ void reads_null(float* y, const float* x) { y[0] = x[threadIdx.x]; }
extern "C" __global__ void writes_behind(float* y, const float*, int n) { y[n + threadIdx.x] = 1; }
extern "C" __global__ void reads_before(float* y, const float*, int n) { y[0] = y[(int) threadIdx.x - n / 64]; }
extern "C" __global__ void behind_array(float* y, const float*, int n) {
  __shared__ float part[63];
  float* all = part;
  all[(threadIdx.x + n) % 64] = 1;
  y[0] = part[0];
}
extern "C" __global__ void index_of_array(float* y, const float*, int n) {
  float own[3];
  for (int i = 0; i < 3; i++) own[i] = (float) i;
  y[0] = own[n & 3] + own[n % 61];
}
extern "C" __global__ void not_its_own(float* y, const float*, int n, long elsewhere) { y[0] = ((float*) (elsewhere + n))[0]; }
extern "C" __global__ void overflows_shared(float* y) { DYNAMIC_SHARED(float, b); b[threadIdx.x] = 1; y[0] = b[0]; }
extern "C" __global__ void misaligned(float* y) { ((float4*) (y + 1))[threadIdx.x] = make_float4(1, 2, 3, 4); }
extern "C" __global__ void divides(int* y) { y[threadIdx.x] = 5 / (int) (blockIdx.x); }
