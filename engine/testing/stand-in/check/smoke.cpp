// The stand-in's own test: loads the libraries as Java does, compiles the kernels beside this file, and checks results,
// errors, ordering, capture and replay. Prints one line a check and exits 1 if one fails.
#include "smoke.h"

#include <fstream>
#include <sstream>

static std::string text(const std::string& path) { std::ifstream f(path); std::stringstream s; s << f.rdbuf(); return s.str(); }

static void kernels(void* m) {
  int n = 100003;
  std::vector<float> x(n), y(n);
  for (int i = 0; i < n; i++) x[i] = rand() / (float) RAND_MAX, y[i] = rand() / (float) RAND_MAX;
  Device a = device(x), b = device(y), c = nullptr;
  cu("cuMemAlloc_v2", &c, n * sizeof(float));
  check(std::isnan(host<float>(c, 1)[0]), "fresh memory is NaN");
  check(launch(function(m, "add_f32"), (n + 255) / 256, 256, 0, c, a, b, n) == 0, "launch add");
  auto z = host<float>(c, n);
  bool same = true;
  for (int i = 0; i < n; i++) same &= z[i] == x[i] + y[i];
  check(same, "add, from a macro");
  check(function(m, "add_f64") && !function(m, "in_a_comment") && !function(m, "nothing"), "the kernels found");

  int rows = 16, columns = 1000;
  launch(function(m, "softmax_row"), rows, 256, 0, c, a, columns);
  z = host<float>(c, rows * columns);
  double worst = 0;
  for (int r = 0; r < rows; r++) {
    double sum = 0;
    for (int i = 0; i < columns; i++) sum += std::exp((double) x[r * columns + i]);
    for (int i = 0; i < columns; i++) worst = std::fmax(worst, std::fabs(z[r * columns + i] - std::exp((double) x[r * columns + i]) / sum));
  }
  check(worst < 1e-8, "softmax by shuffles and shared memory");

  launch(function(m, "reverse_block"), 4, 128, 512, c, a);
  z = host<float>(c, 512);
  same = true;
  for (int i = 0; i < 512; i++) same &= z[i] == x[i / 128 * 128 + 127 - i % 128];
  check(same, "reverse by dynamic shared memory");

  cu("cuMemsetD32Async", c, 0u, (size_t) 2, stream);
  launch(function(m, "collectives"), 1, 64, 0, c);
  auto counts = host<uint32_t>(c, 2);
  check(counts[0] == 0 && counts[1] == 64, "warp collectives and intrinsics");

  struct Pair { char tag; alignas(16) float value[4]; } pair = {7, {1, 2, 3, 4}};
  launch(function(m, "parameters"), 1, 1, 0, c, (char) 5, pair, (short) -9, 2.5);
  z = host<float>(c, 5);
  check(z[0] == 5 && z[1] == 7 && z[2] == 4 && z[3] == -9 && z[4] == 2.5f, "parameters of all sizes");
  launch(function(m, "forgets_barrier"), 1, 64, 0, c);
  check(std::isnan(host<float>(c, 1)[0]), "a forgotten barrier reads NaN");

  void* add = function(m, "add_f32");
  void* none = nullptr;
  check(cu("cuLaunchKernel", add, 1u, 1u, 1u, 32u, 1u, 1u, 0u, stream, (void**) nullptr, &none) == 1, "a launch without parameters is refused");
  check(launch(add, 1, 512, 0, c, a, b, n) == 701, "a block over the launch bound is refused");
  void* plain = function(m, "reverse_block");
  check(launch(plain, 1, 1025, 0, c, a) == 1 && launch(plain, 0, 32, 0, c, a) == 1, "block and grid limits");
  check(launch(plain, 1, 32, 50000, c, a) == 1, "shared memory over 48 KB without the attribute");
  check(cu("cuFuncSetAttribute", plain, 8, 232448 + 1) == 1 && cu("cuFuncSetAttribute", plain, 8, 232448) == 0, "the attribute's limit");
  check(launch(plain, 1, 32, 232448, c, a) == 0 && sync() == 0, "227 KB of shared memory");
  size_t offset, size;
  check(cu("cuFuncGetParamInfo", function(m, "parameters"), (size_t) 2, &offset, &size) == 0 && offset == 16 && size == 32, "parameter layout");

  double t = now();
  for (int i = 0; i < 200; i++) launch(add, 16, 256, 0, c, a, b, 4096);
  sync();
  printf("     add of 4096: %.1f us a launch\n", (now() - t) / 200 * 1e6);
  t = now();
  for (int i = 0; i < 20; i++) launch(function(m, "softmax_row"), 100, 256, 0, c, a, 1000);
  sync();
  printf("     softmax 100x1000, block 256: %.2f ms a launch\n", (now() - t) / 20 * 1e3);
  for (Device d : {a, b, c}) check(cu("cuMemFree_v2", d) == 0, "free");
  check(cu("cuMemFree_v2", a) == 1, "double free is refused");
}

static void order(void* m) {
  std::vector<float> x(64, 1);
  void *other, *event, *pinned;
  cu("cuStreamCreate", &other, 1u);
  cu("cuEventCreate", &event, 2u);
  cu("cuMemAllocHost_v2", &pinned, (size_t) 256);
  memcpy(pinned, x.data(), 256);
  Device a = device(x), b = device(x);
  sync();
  ((float*) pinned)[0] = 5;
  cu("cuMemcpyHtoDAsync_v2", a, (const void*) pinned, (size_t) 256, other);
  check(host<float>(a, 1)[0] == 1, "a copy on another stream has not run without a wait");
  cu("cuEventRecord", event, other);
  check(cu("cuEventQuery", event) == 600, "the event is pending");
  cu("cuEventRecord", event, other);
  cu("cuStreamWaitEvent", stream, event, 0u);
  check(host<float>(a, 1)[0] == 5, "and has run after the wait");

  // capture: a copy, a fork to the other stream and back, kernels
  void *graph, *exec, *graph2, *add = function(m, "add_f32");
  auto capture = [&](Device to, bool fork, void** out) {
    cu("cuStreamBeginCapture_v2", stream, 1);
    cu("cuMemcpyHtoDAsync_v2", a, (const void*) pinned, (size_t) 256, stream);
    int n = 64;
    if (fork) { cu("cuEventRecord", event, stream); cu("cuStreamWaitEvent", other, event, 0u); }
    void* keep = stream;
    if (fork) stream = other;
    launch(add, 1, 64, 0, to, a, b, n);
    stream = keep;
    n = -1;
    if (fork) { cu("cuEventRecord", event, other); cu("cuStreamWaitEvent", stream, event, 0u); }
    cu("cuMemcpyDtoHAsync_v2", (char*) pinned + 128, to, (size_t) 128, stream);
    return cu("cuStreamEndCapture", stream, out);
  };
  check(capture(b, true, &graph) == 0, "capture with a fork and a join");
  check(host<float>(b, 1)[0] == 1, "captured work has not run");
  check(cu("cuGraphInstantiateWithFlags", &exec, graph, 0ull) == 0, "instantiate");
  for (int i = 0; i < 3; i++) cu("cuGraphLaunch", exec, stream);
  sync();
  check(host<float>(b, 1)[0] == 16 && ((float*) pinned)[32] == 16, "three replays");
  size_t count = 0;
  cu("cuGraphGetNodes", graph, (void**) nullptr, &count);
  check(count == 3, "nodes");
  Device c = device(x);
  sync();
  struct { int result; void *a, *b; } info;
  capture(c, true, &graph2);
  check(cu("cuGraphExecUpdate_v2", exec, graph2, (void*) &info) == 0, "an update to moved buffers");
  cu("cuGraphLaunch", exec, stream);
  check(host<float>(c, 1)[0] == 21, "is replayed");
  cu("cuGraphDestroy", graph2);
  cu("cuStreamBeginCapture_v2", stream, 1);
  launch(add, 1, 64, 0, c, a, b, 64);
  cu("cuStreamEndCapture", stream, &graph2);
  check(cu("cuGraphExecUpdate_v2", exec, graph2, (void*) &info) == 910 && info.result == 2, "another topology is refused");
  cu("cuStreamBeginCapture_v2", stream, 0);
  Device none = nullptr;
  check(cu("cuMemAlloc_v2", &none, (size_t) 4) == 900 && cu("cuStreamEndCapture", stream, &graph2) == 901, "allocation spoils a capture");
  cu("cuStreamBeginCapture_v2", stream, 1);
  cu("cuEventRecord", event, stream);
  cu("cuStreamWaitEvent", other, event, 0u);
  cu("cuMemsetD8Async", a, (unsigned char) 0, (size_t) 4, other);
  check(cu("cuStreamEndCapture", stream, &graph2) == 904, "an unjoined fork is refused");
  check(cu("cuGraphExecDestroy", exec) == 0 && cu("cuGraphDestroy", graph) == 0, "destroy");
  check(cu("cuMemcpyDtoDAsync_v2", (Device) nullptr, a, (size_t) 4, stream) == 1, "copy to null is refused");
  check(cu("cuMemcpyDtoDAsync_v2", a, b, (size_t) 257, stream) == 1, "copy over the end is refused");
  cu("cuMemFree_v2", b);
  check(cu("cuMemcpyDtoDAsync_v2", a, b, (size_t) 4, stream) == 1, "copy from freed memory is refused");
}

static void faults(const std::vector<char>& image) {
  struct { const char *name, *what; int code; } cases[] = {
    {"diverges", "divergence is 719", 719}, {"reads_null", "null is 700", 700},
    {"misaligned", "a misaligned float4 is 716", 716}, {"divides", "a division by zero is an error", 700},
    {"overflows_shared", "a write behind shared memory is 700", 700}, {"writes_behind", "a write behind a block is 700", 700},
    {"reads_before", "a read before a block is 700", 700}, {"behind_array", "a write behind a shared array is 700", 700},
    {"index_of_array", "an index outside of an array is 716", 716}};
  for (auto& c : cases) {
    restart();
    void* m = load(image);
    Device d = device(std::vector<float>(64));
    launch(function(m, c.name), 1, 64, 4, d, (Device) nullptr, 64);
    check(sync() == c.code && cu("cuMemAlloc_v2", &d, (size_t) 4) == c.code, c.what);
  }
  restart();
  void* m = load(image);
  Device d = device(std::vector<float>(64));
  Device other = device(std::vector<float>(64));
  check(launch(function(m, "not_its_own"), 1, 1, 0, d, d, 64, (long) other - 64) == 0 && sync() == 700, "a block that is no argument is 700");
  restart();
  d = device(std::vector<float>(64));
  sync();
  d[256] = 1;
  check(cu("heddleStandInCheckGuards") == 1 && cu("cuMemFree_v2", d) == 700, "a library's write behind a block is found");
  restart();
  size_t free, total;
  cu("cuMemGetInfo_v2", &free, &total);
  check(free == total && cu("cuMemAlloc_v2", &d, total + 1) == 2, "out of memory");
}

static void tiles(void* m) {
  restart();
  for (bool half : {false, true}) for (int by_columns : {0, 1}) {
    std::vector<uint16_t> a(256), b(128);
    for (auto v : {&a, &b}) for (auto& h : *v) h = (uint16_t) ((half ? 0x3000 : 0x3e00) + rand() % 0x300 + (rand() & 1) * 0x8000);
    auto value = [&](uint16_t h) { return half ? from_f16(h) : from_bf16(h); };
    Device da = device(a), db = device(b), d = device(std::vector<float>(128));
    launch(function(m, half ? "tile_f16" : "tile_bf16"), 1, 32, 768, d, da, db, by_columns);
    auto got = host<float>(d, 128);
    double worst = 0;
    for (int r = 0; r < 16; r++) for (int c = 0; c < 8; c++) {
      double sum = 0;
      for (int k = 0; k < 16; k++) sum += value(a[r * 16 + k]) * value(by_columns ? b[c * 16 + k] : b[k * 8 + c]);
      worst = std::fmax(worst, std::fabs(sum - got[r * 8 + c]));
    }
    char line[100];
    snprintf(line, sizeof line, "16x16 by 16x8 tile in %s, b by %s: worst error %.1e", half ? "f16" : "bf16", by_columns ? "columns" : "rows, transposed", worst);
    check(worst < 1e-5, line);
  }
  Device b = device(std::vector<float>(65536)), f = device(std::vector<float>(65536)), bits = device(std::vector<float>(65536)), halves = device(std::vector<float>(65536));
  launch(function(m, "from_halves"), 256, 256, 0, b, f, 65536);
  auto wide_b = host<float>(b, 65536), wide_f = host<float>(f, 65536);
  bool same = true;
  for (int i = 0; i < 65536; i++) {
    double expect = from_f16((uint16_t) i);
    same &= std::isnan(expect) ? std::isnan(wide_f[i]) : wide_f[i] == expect;
  }
  check(same, "every f16 to float");
  same = true;
  for (Device source : {b, f}) {
    launch(function(m, "to_halves"), 256, 256, 0, bits, halves, source, 65536);
    auto back = host<uint16_t>(source == b ? bits : halves, 65536);
    for (int i = 0; i < 65536; i++) {
      float v = (source == b ? wide_b : wide_f)[i];
      same &= std::isnan(v) ? back[i] == 0x7fff : back[i] == i;
    }
  }
  check(same, "every bf16 and f16 there and back");
  std::vector<float> between(65536);
  for (int i = 0; i < 65536; i++) between[i] = std::ldexp((float) rand() / (float) RAND_MAX - 0.5f, rand() % 44 - 28);
  Device d = device(between);
  launch(function(m, "to_halves"), 256, 256, 0, bits, halves, d, 65536);
  auto got = host<uint16_t>(halves, 65536);
  auto got_b = host<uint16_t>(bits, 65536);
  for (int i = 0; i < 65536; i++) {              // no neighbour is nearer, and a tie goes to the even one
    double v = std::fabs(between[i]), here = std::fabs(from_f16(got[i] & 0x7fff) - v);
    int h = got[i] & 0x7fff;
    if (h == 0x7c00) { same &= v >= 65520; continue; }
    double up = std::fabs((h == 0x7bff ? 65536 : from_f16((uint16_t) (h + 1))) - v), down = h ? std::fabs(from_f16((uint16_t) (h - 1)) - v) : 1;
    same &= here < up || (here == up && !(h & 1));
    same &= here < down || (here == down && !(h & 1));
    h = got_b[i] & 0x7fff;
    here = std::fabs(from_bf16((uint16_t) h) - v);
    up = std::fabs(from_bf16((uint16_t) (h + 1)) - v);
    down = h ? std::fabs(from_bf16((uint16_t) (h - 1)) - v) : 1;
    same &= (here < up || (here == up && !(h & 1))) && (here < down || (here == down && !(h & 1)));
  }
  check(same, "rounding to bf16 and f16");
  launch(function(m, "forgets_wait"), 1, 32, 512, bits, d);
  check(std::isnan(host<float>(bits, 1)[0]), "cp.async without its wait reads NaN");
}

int main(int, char** argv) {
  std::string home = argv[1], sources = argv[2];
  cuda = dlopen((home + "/libcuda.so.1").c_str(), RTLD_NOW | RTLD_LOCAL);
  rtc = dlopen((home + "/libnvrtc.so.13").c_str(), RTLD_NOW | RTLD_LOCAL);
  blas = dlopen((home + "/libcublasLt.so.13").c_str(), RTLD_NOW | RTLD_LOCAL);
  dnn_library = dlopen((home + "/libcudnn.so.9").c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!cuda || !rtc || !blas || !dnn_library) { printf("FAIL %s\n", dlerror()); return 1; }
  void* context;
  int n;
  check(cu("cuDeviceGetCount", &n) == 3, "nothing before cuInit");
  cu("cuInit", 0u);
  check(cu("cuCtxSynchronize") == 201, "nothing without a context");
  cu("cuDevicePrimaryCtxRetain", &context, 0);
  cu("cuCtxSetCurrent", context);
  cu("cuStreamCreate", &stream, 1u);
  double t = now();
  auto image = compile(text(sources + "/kernels.cu"));
  printf("     compiling kernels.cu: %.3f s\n", now() - t);
  auto tile = compile(text(sources + "/tile.cu"));
  std::string log;
  compile("extern \"C\" __global__ void k(float* x) {\n  x[0] = nothing;\n}\n", 6, &log);
  check(log.find("test.cu:2") != std::string::npos && log.find("nothing") != std::string::npos, "a compile error names its line");
  t = now();
  for (int i = 0; i < 10; i++) compile("extern \"C\" __global__ void k" + std::to_string(i) + "(float* x, int n) {\n  int i = blockIdx.x * blockDim.x + threadIdx.x;\n  if (i < n) x[i] = tanhf(x[i]);\n}\n");
  printf("     compiling a small kernel: %.3f s\n", (now() - t) / 10);
  void* m = load(image);
  kernels(m);
  order(m);
  check(cu("cuModuleUnload", m) == 0, "unload");
  tiles(load(tile));
  faults(image);
  matmuls();
  cudnn();
  printf(failures ? "%d checks failed\n" : "all checks passed\n", failures);
  return failures != 0;
}
