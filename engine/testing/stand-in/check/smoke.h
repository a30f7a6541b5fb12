// What the stand-in's own tests share: the loaded libraries, calls by name, and short forms of compile, launch and copy.
#pragma once
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <string>
#include <vector>

inline int failures;
inline void check(bool ok, const char* what) {
  printf("%s %s\n", ok ? "ok  " : "FAIL", what);
  failures += !ok;
}
inline void *cuda, *rtc, *blas, *dnn_library;
template <class... A> int call(void* library, const char* name, A... a) {
  auto f = (int (*)(A...)) dlsym(library, name);
  if (!f) { printf("FAIL no %s\n", name); exit(1); }
  return f(a...);
}
template <class... A> int cu(const char* name, A... a) { return call(cuda, name, a...); }

typedef char* Device;
inline void* stream;
inline double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

inline std::vector<char> compile(const std::string& source, int expect = 0, std::string* log_out = nullptr) {
  void* p;
  call(rtc, "nvrtcCreateProgram", &p, source.c_str(), "test.cu", 0, (const char**) nullptr, (const char**) nullptr);
  const char* options[] = {"--gpu-architecture=sm_90", "--std=c++17", "-DUNUSED=1"};
  int e = call(rtc, "nvrtcCompileProgram", p, 3, (const char* const*) options);
  size_t n;
  call(rtc, "nvrtcGetProgramLogSize", p, &n);
  std::string log(n, 0);
  call(rtc, "nvrtcGetProgramLog", p, &log[0]);
  if (log_out) *log_out = log;
  if (e != expect) printf("FAIL compile: %d\n%s\n", e, log.c_str()), failures++;
  call(rtc, "nvrtcGetCUBINSize", p, &n);
  std::vector<char> image(n);
  call(rtc, "nvrtcGetCUBIN", p, image.data());
  call(rtc, "nvrtcDestroyProgram", &p);
  return image;
}
inline void* load(const std::vector<char>& image) { void* m = nullptr; cu("cuModuleLoadData", &m, (const void*) image.data()); return m; }
inline void* function(void* module, const char* name) { void* f = nullptr; cu("cuModuleGetFunction", &f, module, name); return f; }
template <class... A> int launch(void* f, unsigned grid, unsigned block, unsigned shared, A... a) {
  void* p[] = {(void*) &a..., nullptr};
  return cu("cuLaunchKernel", f, grid, 1u, 1u, block, 1u, 1u, shared, stream, (void**) p, (void**) nullptr);
}
inline int sync() { return cu("cuStreamSynchronize", stream); }
template <class T> Device device(const std::vector<T>& x) {
  Device d = nullptr;
  cu("cuMemAlloc_v2", &d, x.size() * sizeof(T));
  cu("cuMemcpyHtoDAsync_v2", d, (const void*) x.data(), x.size() * sizeof(T), stream);
  return d;
}
template <class T> std::vector<T> host(Device d, size_t n) {
  std::vector<T> x(n);
  int e = cu("cuMemcpyDtoHAsync_v2", (void*) x.data(), d, n * sizeof(T), stream);
  if (e) printf("FAIL read: %d\n", e), failures++;
  return x;
}
inline void restart() {                                            // after a fault
  cu("cuDevicePrimaryCtxReset_v2", 0);
  cu("cuStreamCreate", &stream, 1u);
}
inline float from_bf16(uint16_t b) { uint32_t u = (uint32_t) b << 16; float f; memcpy(&f, &u, 4); return f; }
inline double from_f16(uint16_t h) {
  int e = h >> 10 & 31, m = h & 1023;
  double v = e == 31 ? (m ? NAN : INFINITY) : e ? std::ldexp(1024 + m, e - 25) : std::ldexp(m, -24);
  return h & 0x8000 ? -v : v;
}

void matmuls();                                                // matmul.cpp
void cudnn();                                                  // cudnn.cpp
