// Checks of the cuBLASLt stand-in against products written out here.
#include "smoke.h"

template <class... A> static int lt(const char* name, A... a) { return call(blas, name, a...); }
static void* handle;

struct Case {
  int type, out, compute;                      // cudaDataType of a and b, of c and d; cublasComputeType
  int m, n, k, trans_a, trans_b, order, batch;
  unsigned epilogue;
  double alpha, beta;
};

static size_t size_of(int type) { return type == 1 ? 8 : type == 0 ? 4 : 2; }
static double get(const std::vector<char>& x, int type, size_t i) {
  if (type == 1) return ((const double*) x.data())[i];
  if (type == 0) return ((const float*) x.data())[i];
  uint16_t h = ((const uint16_t*) x.data())[i];
  return type == 14 ? from_bf16(h) : from_f16(h);
}
static std::vector<char> random(int type, size_t n) {
  std::vector<char> x(n * size_of(type));
  for (size_t i = 0; i < n; i++) {
    double v = (rand() % 257 - 128) / 64.0;
    if (type == 1) ((double*) x.data())[i] = v;
    else if (type == 0) ((float*) x.data())[i] = (float) v;
    else {
      float f = (float) v;
      uint32_t u;
      memcpy(&u, &f, 4);
      uint16_t bf = u >> 16, half = v == 0 ? 0 : (u >> 16 & 0x8000) | ((u & 0x7fffffff) - 0x38000000) >> 13;   // both exact enough
      ((uint16_t*) x.data())[i] = type == 14 ? bf : half;
    }
  }
  return x;
}

static void* layout(int type, int rows, int columns, int order, int batch, long stride) {
  void* l;
  lt("cublasLtMatrixLayoutCreate", &l, type, (uint64_t) rows, (uint64_t) columns, (int64_t) (order ? columns : rows) + 3);
  lt("cublasLtMatrixLayoutSetAttribute", l, 1, (const void*) &order, (size_t) 4);
  lt("cublasLtMatrixLayoutSetAttribute", l, 5, (const void*) &batch, (size_t) 4);
  lt("cublasLtMatrixLayoutSetAttribute", l, 6, (const void*) &stride, (size_t) 8);
  return l;
}

static void run(const Case& t, bool captured, const char* what) {
  int ra = t.trans_a ? t.k : t.m, ca = t.trans_a ? t.m : t.k, rb = t.trans_b ? t.n : t.k, cb = t.trans_b ? t.k : t.n;
  auto count = [&](int r, int c) { return (long) (t.order ? r * (c + 3) : c * (r + 3)); };
  auto at = [&](int r, int c, int i, int j) { return (long) (t.order ? i * (c + 3) + j : j * (r + 3) + i); };
  long sa = count(ra, ca), sb = count(rb, cb), sd = count(t.m, t.n);
  int aux_ld = (t.m + 127) / 128 * 128;
  long aux_stride = (long) aux_ld * t.n;
  auto a = random(t.type, sa * t.batch), b = random(t.type, sb * t.batch), c = random(t.out, sd * t.batch);
  int bias_length = t.epilogue & 512 ? t.n : t.m;
  auto bias = random(t.out, bias_length), aux = random(t.out, aux_stride * t.batch);
  Device da = device(a), db = device(b), dc = device(c), dd = device(std::vector<float>(sd * t.batch * 2)), dbias = device(bias), daux = device(aux);
  Device workspace = device(std::vector<char>(1 << 20));
  void *op, *preference, *la = layout(t.type, ra, ca, t.order, t.batch, sa), *lb = layout(t.type, rb, cb, t.order, t.batch, sb);
  void* ld = layout(t.out, t.m, t.n, t.order, t.batch, sd);
  lt("cublasLtMatmulDescCreate", &op, t.compute, t.type == 1 ? 1 : 0);
  lt("cublasLtMatmulDescSetAttribute", op, 3, (const void*) &t.trans_a, (size_t) 4);
  lt("cublasLtMatmulDescSetAttribute", op, 4, (const void*) &t.trans_b, (size_t) 4);
  lt("cublasLtMatmulDescSetAttribute", op, 7, (const void*) &t.epilogue, (size_t) 4);
  int64_t ld64 = aux_ld;
  if (t.epilogue & ~35u) {
    lt("cublasLtMatmulDescSetAttribute", op, 8, (const void*) &dbias, (size_t) 8);
    lt("cublasLtMatmulDescSetAttribute", op, 11, (const void*) &daux, (size_t) 8);
    lt("cublasLtMatmulDescSetAttribute", op, 12, (const void*) &ld64, (size_t) 8);
    lt("cublasLtMatmulDescSetAttribute", op, 13, (const void*) &aux_stride, (size_t) 8);
  }
  lt("cublasLtMatmulPreferenceCreate", &preference);
  uint64_t most = 1 << 20;
  lt("cublasLtMatmulPreferenceSetAttribute", preference, 1, (const void*) &most, (size_t) 8);
  char results[4][96];
  int found = 0;
  int status = lt("cublasLtMatmulAlgoGetHeuristic", handle, op, la, lb, ld, ld, preference, 4, (void*) results, &found);
  float alpha32 = (float) t.alpha, beta32 = (float) t.beta;
  const void *alpha = t.type == 1 ? (const void*) &t.alpha : &alpha32, *beta = t.type == 1 ? (const void*) &t.beta : &beta32;
  void *graph, *exec;
  if (captured) cu("cuStreamBeginCapture_v2", stream, 1);
  if (found == 2)
    status = lt("cublasLtMatmul", handle, op, alpha, da, la, db, lb, beta, dc, ld, dd, ld, (void*) results[1], workspace, (size_t) most, stream);
  if (captured) {
    cu("cuStreamEndCapture", stream, &graph);
    cu("cuGraphInstantiateWithFlags", &exec, graph, 0ull);
    cu("cuGraphLaunch", exec, stream);
  }
  auto d = host<char>(dd, sd * t.batch * size_of(t.out)), bias_after = host<char>(dbias, bias.size());
  double worst = 0;
  for (int z = 0; z < t.batch; z++) {
    std::vector<double> gradient(bias_length);
    for (int i = 0; i < t.m; i++) for (int j = 0; j < t.n; j++) {
      double sum = 0;
      for (int l = 0; l < t.k; l++) {
        double x = get(a, t.type, z * sa + (t.trans_a ? at(ra, ca, l, i) : at(ra, ca, i, l)));
        double y = get(b, t.type, z * sb + (t.trans_b ? at(rb, cb, j, l) : at(rb, cb, l, j)));
        sum += x * y;
        if (t.epilogue == 256 && j == 0) gradient[i] += x;
        if (t.epilogue == 512 && i == 0) gradient[j] += y;
      }
      double v = t.alpha * sum + (t.beta ? t.beta * get(c, t.out, z * sd + at(t.m, t.n, i, j)) : 0);
      if (t.epilogue & 4) v += get(bias, t.out, i);
      if (t.epilogue & 2) v = std::fmax(v, 0);
      if (t.epilogue & 32) v = 0.5 * v * (1 + std::tanh(std::sqrt(2 / M_PI) * (v + 0.044715 * v * v * v)));
      if (t.epilogue & 64) {
        double x = get(aux, t.out, z * aux_stride + (long) j * aux_ld + i), e = 1e-5;
        auto gelu = [](double u) { return 0.5 * u * (1 + std::tanh(std::sqrt(2 / M_PI) * (u + 0.044715 * u * u * u))); };
        v *= (gelu(x + e) - gelu(x - e)) / (2 * e);
      }
      if (t.epilogue & 16) gradient[i] += v;
      double got = get(d, t.out, z * sd + at(t.m, t.n, i, j));
      worst = std::fmax(worst, std::isnan(got) ? 1e9 : std::fabs(got - v) / (1 + std::fabs(v)));
    }
    if (t.epilogue & (16 | 256 | 512) && t.batch == 1)
      for (int i = 0; i < bias_length; i++) worst = std::fmax(worst, std::fabs(get(bias_after, t.out, i) - gradient[i]) / (1 + std::fabs(gradient[i])));
  }
  double tolerance = t.out == 1 ? 1e-12 : t.out == 0 ? 1e-6 : t.out == 2 ? 6e-4 : 5e-3;
  char line[160];
  snprintf(line, sizeof line, "matmul %s: status %d, %d algorithms, worst error %.1e", what, status, found, worst);
  check(status == 0 && found == 2 && worst < tolerance, line);
  for (Device p : {da, db, dc, dd, dbias, daux, workspace}) cu("cuMemFree_v2", p);
}

void matmuls() {
  lt("cublasLtCreate", &handle);
  enum { F32 = 0, F64 = 1, F16 = 2, BF16 = 14 };
  run({F32, F32, 68, 13, 7, 9, 0, 0, 0, 1, 1, 1, 0}, false, "f32");
  run({F32, F32, 77, 13, 7, 9, 1, 0, 0, 3, 1, 2, 0.5}, false, "tf32, a transposed, batched, beta");
  run({F64, F64, 70, 5, 7, 9, 0, 1, 1, 2, 1, -1, 1}, true, "f64, b transposed, row order, captured");
  run({BF16, BF16, 68, 16, 24, 40, 1, 1, 0, 1, 4, 1, 0}, false, "bf16, both transposed, bias");
  run({F16, F16, 68, 16, 24, 40, 0, 0, 1, 2, 2, 1, 0}, false, "f16, row order, relu");
  run({BF16, F32, 68, 16, 24, 40, 0, 0, 0, 1, 36, 1, 0}, true, "bf16 to f32, gelu and bias, captured");
  run({F32, F32, 68, 16, 8, 8, 0, 0, 0, 2, 192, 1, 0}, false, "gelu backward");
  run({F32, F32, 68, 16, 8, 8, 0, 0, 0, 1, 208, 1, 0}, false, "gelu backward with the bias gradient");
  run({F32, F32, 68, 16, 8, 8, 1, 0, 0, 1, 256, 1, 0}, false, "gradient over a");
  run({F32, F32, 68, 16, 8, 8, 0, 1, 0, 1, 512, 1, 0}, false, "gradient over b");
  void *op, *l, *other;
  int epilogue = 4;
  lt("cublasLtMatmulDescCreate", &op, 68, 0);
  check(lt("cublasLtMatmulDescSetAttribute", op, 7, (const void*) &epilogue, (size_t) 8) == 7, "an attribute of a wrong size is refused");
  l = layout(0, 16, 16, 0, 1, 0);
  other = layout(0, 17, 16, 0, 1, 0);
  Device d = device(std::vector<float>(1000));
  float one = 1, zero = 0;
  auto multiply = [&](Device a, void* la) {
    return lt("cublasLtMatmul", handle, op, (const void*) &one, a, la, d, l, (const void*) &zero, d, l, d, l, (void*) nullptr, (Device) nullptr, (size_t) 0, stream);
  };
  check(multiply(d, other) == 7, "shapes that do not fit are refused");
  check(multiply(d + 4, l) == 15, "a misaligned pointer is refused");
  check(multiply(d + 3200, l) == 13, "a matrix over the end of its block is refused");
}
