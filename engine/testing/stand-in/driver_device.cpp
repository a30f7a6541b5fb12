// libcuda.so.1, a stand-in that runs CUDA calls on the CPU: start, device, context, errors, and its own exported checks.
#include "driver.h"

#include <cstdarg>
#include <cstdlib>
#include <ctime>
#include <sys/syscall.h>
#include <unistd.h>

Driver driver;
thread_local void* current_context;

static void* const CONTEXT = (void*) 0xc0de;
const int COMPUTE_CAPABILITY[2] = {9, 0}, MULTIPROCESSORS = 4;

static struct Loaded {
  Loaded() {
    fprintf(stderr, "heddle stand-in: CUDA calls run on the CPU, this is no GPU\n");
    driver.limit = 4ull << 30;
    if (const char* text = getenv("HEDDLE_STAND_IN_MEMORY")) {
      char* end;
      driver.limit = strtoull(text, &end, 10);
      driver.limit <<= *end == 'K' ? 10 : *end == 'M' ? 20 : *end == 'G' ? 30 : 0;
    }
    const char* eager = getenv("HEDDLE_STAND_IN_EAGER");
    driver.eager = eager && *eager == '1';
  }
} loaded;

int complain(int code, const char* format, ...) {
  char text[512];
  va_list list;
  va_start(list, format);
  vsnprintf(text, sizeof text, format, list);
  va_end(list);
  fprintf(stderr, "heddle stand-in: error %d: %s\n", code, text);
  return code;
}

uint64_t thread_id() { return syscall(SYS_gettid); }

Call::Call(bool needs_context) : guard(driver.lock), error(0) {
  if (!driver.initialized) error = NOT_INITIALIZED;
  else if (needs_context && !current_context) error = INVALID_CONTEXT;
  else if (needs_context && !driver.retained) error = CONTEXT_IS_DESTROYED;
  else if (needs_context) error = driver.sticky;
}
#define ENTER_DEVICE(d) Call call(false); if (call.error) return call.error; if ((d) != 0) return INVALID_DEVICE

// ---- device

API cuInit(unsigned flags) {
  std::lock_guard<std::mutex> guard(driver.lock);
  if (flags) return INVALID_VALUE;
  driver.initialized = true;
  return 0;
}
API cuDriverGetVersion(int* version) { if (!version) return INVALID_VALUE; *version = 13000; return 0; }
API cuDeviceGetCount(int* n) { ENTER_DEVICE(0); *n = 1; return 0; }
API cuDeviceGet(int* device, int ordinal) { ENTER_DEVICE(ordinal); *device = 0; return 0; }
API cuDeviceGetName(char* name, int n, int device) {
  ENTER_DEVICE(device);
  if (!name || n < 1) return INVALID_VALUE;
  snprintf(name, n, "Heddle stand-in (CPU, no GPU)");
  return 0;
}
API cuDeviceTotalMem_v2(size_t* n, int device) { ENTER_DEVICE(device); *n = driver.limit; return 0; }
API cuDeviceGetUuid_v2(unsigned char* uuid, int device) {
  ENTER_DEVICE(device);
  memcpy(uuid, "heddle-standin01", 16);
  return 0;
}
API cuDeviceGetUuid(unsigned char* uuid, int device) { return cuDeviceGetUuid_v2(uuid, device); }
API cuDeviceGetPCIBusId(char* text, int n, int device) {
  ENTER_DEVICE(device);
  snprintf(text, n, "0000:00:00.0");
  return 0;
}
API cuDeviceComputeCapability(int* major, int* minor, int device) {
  ENTER_DEVICE(device);
  *major = COMPUTE_CAPABILITY[0];
  *minor = COMPUTE_CAPABILITY[1];
  return 0;
}
API cuDeviceGetAttribute(int* value, int attribute, int device) {
  ENTER_DEVICE(device);
  switch (attribute) {
    case 1: case 2: case 3: *value = 1024; break;              // threads a block, block x, y
    case 4: *value = 64; break;                                // block z
    case 5: *value = 2147483647; break;                        // grid x
    case 6: case 7: *value = 65535; break;                     // grid y, z
    case 8: *value = 48 * 1024; break;                         // shared memory a block
    case 9: *value = 64 * 1024; break;                         // constant memory
    case 10: *value = 32; break;                               // warp
    case 12: case 82: *value = 65536; break;                   // registers a block, a multiprocessor
    case 13: *value = 1000000; break;                          // clock, kHz
    case 14: *value = 512; break;                              // texture alignment
    case 16: *value = MULTIPROCESSORS; break;
    case 31: case 40: case 41: *value = 1; break;   // concurrent kernels, copy engines, unified addressing
    case 36: *value = 1000000; break;                          // memory clock, kHz
    case 37: *value = 1024; break;                             // bus width, bits
    case 38: *value = 1 << 20; break;                          // L2 cache
    case 39: *value = 2048; break;                             // threads a multiprocessor
    case 75: *value = COMPUTE_CAPABILITY[0]; break;
    case 76: *value = COMPUTE_CAPABILITY[1]; break;
    case 78: *value = 1; break;                                // stream priorities
    case 81: *value = 228 * 1024; break;                       // shared memory a multiprocessor
    case 97: *value = 227 * 1024; break;                       // shared memory a block, opt-in
    case 106: *value = 32; break;                              // blocks a multiprocessor
    case 111: *value = 1024; break;                            // reserved shared memory a block
    default: *value = 0;
  }
  return 0;
}

// ---- context

API cuDevicePrimaryCtxRetain(void** context, int device) {
  ENTER_DEVICE(device);
  driver.retained++;
  *context = CONTEXT;
  return 0;
}
API cuDevicePrimaryCtxRelease_v2(int device) {
  ENTER_DEVICE(device);
  if (!driver.retained) return INVALID_CONTEXT;
  if (!--driver.retained) release_everything();
  return 0;
}
API cuDevicePrimaryCtxReset_v2(int device) { ENTER_DEVICE(device); release_everything(); return 0; }
API cuDevicePrimaryCtxSetFlags_v2(int device, unsigned) { ENTER_DEVICE(device); return 0; }
API cuDevicePrimaryCtxGetState(int device, unsigned* flags, int* active) {
  ENTER_DEVICE(device);
  *flags = 0;
  *active = driver.retained > 0;
  return 0;
}
API cuCtxSetCurrent(void* context) {
  Call call(false);
  if (call.error) return call.error;
  if (context && context != CONTEXT) return INVALID_CONTEXT;
  current_context = context;
  return 0;
}
API cuCtxGetCurrent(void** context) {
  Call call(false);
  if (call.error) return call.error;
  *context = current_context;
  return 0;
}
API cuCtxGetDevice(int* device) { ENTER(); *device = 0; return 0; }
API cuCtxSynchronize() {
  ENTER();
  if (int e = forbid_in_capture("cuCtxSynchronize")) return e;
  return drain_all();
}

// ---- errors

static const struct { int code; const char *name, *text; } ERRORS[] = {
  {0, "CUDA_SUCCESS", "no error"},
  {1, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
  {2, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
  {3, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
  {4, "CUDA_ERROR_DEINITIALIZED", "driver shutting down"},
  {100, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
  {101, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
  {200, "CUDA_ERROR_INVALID_IMAGE", "device kernel image is invalid"},
  {201, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
  {209, "CUDA_ERROR_NO_BINARY_FOR_GPU", "no kernel image is available for execution on the device"},
  {218, "CUDA_ERROR_INVALID_PTX", "a PTX JIT compilation failed"},
  {301, "CUDA_ERROR_FILE_NOT_FOUND", "file not found"},
  {400, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
  {500, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
  {600, "CUDA_ERROR_NOT_READY", "device not ready"},
  {700, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"},
  {701, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES", "too many resources requested for launch"},
  {702, "CUDA_ERROR_LAUNCH_TIMEOUT", "the launch timed out and was terminated"},
  {709, "CUDA_ERROR_CONTEXT_IS_DESTROYED", "context is destroyed"},
  {716, "CUDA_ERROR_MISALIGNED_ADDRESS", "misaligned address"},
  {719, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
  {801, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported"},
  {900, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", "operation not permitted when stream is capturing"},
  {901, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED", "operation failed due to a previous error during capture"},
  {902, "CUDA_ERROR_STREAM_CAPTURE_MERGE", "operation would result in a merge of separate capture sequences"},
  {903, "CUDA_ERROR_STREAM_CAPTURE_UNMATCHED", "capture was not ended in the same stream as it began"},
  {904, "CUDA_ERROR_STREAM_CAPTURE_UNJOINED", "capturing stream has unjoined work"},
  {905, "CUDA_ERROR_STREAM_CAPTURE_ISOLATION", "dependency created on uncaptured work in another stream"},
  {906, "CUDA_ERROR_STREAM_CAPTURE_IMPLICIT", "operation would make the legacy stream depend on a capturing blocking stream"},
  {907, "CUDA_ERROR_CAPTURED_EVENT", "operation not permitted on an event last recorded in a capturing stream"},
  {908, "CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD", "attempt to terminate a thread-local capture sequence from another thread"},
  {910, "CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE", "the graph update was not performed because it included changes which violated "
   "constraints specific to instantiated graph update"},
  {999, "CUDA_ERROR_UNKNOWN", "unknown error"},
};
API cuGetErrorName(int code, const char** text) {
  for (auto& e : ERRORS) if (e.code == code) { *text = e.name; return 0; }
  *text = nullptr;
  return INVALID_VALUE;
}
API cuGetErrorString(int code, const char** text) {
  for (auto& e : ERRORS) if (e.code == code) { *text = e.text; return 0; }
  *text = nullptr;
  return INVALID_VALUE;
}

// ---- for tests only: what no driver exports

/** Counts: 0 live device bytes, 1 live device blocks, 2 kernels run, 3 graphs launched, 4 damaged guards seen so far,
    5 live streams, 6 live events, 7 live modules, 8 live graphs and executables, 9 live pinned bytes. */
extern "C" __attribute__((visibility("default"))) long heddleStandInCount(int what) {
  std::lock_guard<std::mutex> guard(driver.lock);
  long pinned = 0;
  for (auto& p : driver.pinned) pinned += p.second;
  switch (what) {
    case 0: return driver.used;
    case 1: return driver.blocks.size();
    case 2: return driver.kernel_launches;
    case 3: return driver.graph_launches;
    case 4: return driver.damaged;
    case 5: return driver.streams.size() - driver.streams.count(nullptr);
    case 6: return driver.events.size();
    case 7: return driver.modules.size();
    case 8: return driver.graphs.size() + driver.executables.size();
    case 9: return pinned;
    default: return -1;
  }
}
