// Device memory is host memory between guard pages: a block starts as NaN, ends at a guard of known bytes, and is unmapped
// when freed, so that a kernel which uses it afterwards faults.
#include "driver.h"

#include <sys/mman.h>
#include <cstdlib>

const size_t PAGE = 4096, GUARD = 64, ALIGN = 256;

// Layout of a mapping: the block (its end as near to the last page as its alignment allows), guard bytes, a closed page.
static size_t mapped(size_t n) { return (n + GUARD + PAGE - 1) / PAGE * PAGE; }
static char* mapping(char* block) { return (char*) ((size_t) block / PAGE * PAGE); }

static bool damaged(char* p, size_t n) {
  for (size_t i = 0; i < GUARD; i++) if (p[n + i] != (char) 0xa5) return true;
  return false;
}

static void unmap(char* p, size_t n) {
  munmap(mapping(p), mapped(n) + PAGE);
  driver.used -= n;
}

static Block find(const std::map<char*, size_t>& blocks, const void* address) {
  auto it = blocks.upper_bound((char*) address);
  if (it == blocks.begin()) return {};
  --it;
  return (char*) address < it->first + it->second ? Block{it->first, it->second} : Block{};
}

size_t device_bytes_at(const void* address) {
  Block b = find(driver.blocks, address);
  return b.bytes ? b.begin + b.bytes - (const char*) address : 0;
}

bool is_pinned(const void* address) { return find(driver.pinned, address).bytes > 0; }

Block block_around(const void* address) {
  Block b = find(driver.blocks, address);
  return b.bytes ? b : find(driver.pinned, address);
}

void release_everything() {
  for (auto& s : driver.streams) s.second->pending.clear();
  for (auto& b : driver.blocks) unmap(b.first, b.second);
  for (auto& p : driver.pinned) free(p.first);
  driver.blocks.clear();
  driver.pinned.clear();
  driver.streams.clear();
  driver.used = 0;
  driver.sticky = 0;
}

API cuMemAlloc_v2(char** out, size_t n) {
  ENTER();
  if (!out || !n) return INVALID_VALUE;
  if (int e = forbid_in_capture("cuMemAlloc")) return e;
  if (n > driver.limit || driver.used + n > driver.limit) return OUT_OF_MEMORY;
  size_t bytes = mapped(n);
  char* base = (char*) mmap(nullptr, bytes + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) return OUT_OF_MEMORY;
  mprotect(base + bytes, PAGE, PROT_NONE);
  char* p = base + (bytes - GUARD - n) / ALIGN * ALIGN;
  memset(p, 0xff, n);
  memset(p + n, 0xa5, GUARD);
  driver.blocks[p] = n;
  driver.used += n;
  *out = p;
  return 0;
}

API cuMemFree_v2(char* p) {
  ENTER();
  if (!p) return 0;
  if (int e = forbid_in_capture("cuMemFree")) return e;
  auto it = driver.blocks.find(p);
  if (it == driver.blocks.end()) return complain(INVALID_VALUE, "cuMemFree of %p, which is no live block", (void*) p);
  int error = drain_all();
  bool bad = damaged(p, it->second);
  if (bad) {
    driver.damaged++;
    driver.sticky = complain(ILLEGAL_ADDRESS, "something wrote behind the %zu bytes at %p", it->second, (void*) p);
  }
  unmap(p, it->second);
  driver.blocks.erase(it);
  return bad ? ILLEGAL_ADDRESS : error;
}

/** For the library stand-ins: the bytes from `address` to the end of its live device block, else 0. */
extern "C" __attribute__((visibility("default"))) size_t heddleStandInDeviceBytes(const void* address) {
  std::lock_guard<std::mutex> guard(driver.lock);
  return device_bytes_at(address);
}

/** For tests: runs all pending work, then returns how many live blocks have been written behind. */
API heddleStandInCheckGuards() {
  ENTER();
  drain_all();
  int bad = 0;
  for (auto& b : driver.blocks) if (damaged(b.first, b.second)) {
    bad++;
    complain(ILLEGAL_ADDRESS, "something wrote behind the %zu bytes at %p", b.second, (void*) b.first);
  }
  driver.damaged += bad;
  return bad;
}

API cuMemGetInfo_v2(size_t* free, size_t* total) {
  ENTER();
  *free = driver.limit - driver.used;
  *total = driver.limit;
  return 0;
}

API cuMemAllocHost_v2(void** out, size_t n) {
  ENTER();
  if (!out || !n) return INVALID_VALUE;
  if (int e = forbid_in_capture("cuMemAllocHost")) return e;
  void* p;
  if (posix_memalign(&p, PAGE, n)) return OUT_OF_MEMORY;
  memset(p, 0xff, n);
  driver.pinned[(char*) p] = n;
  *out = p;
  return 0;
}
API cuMemHostAlloc(void** out, size_t n, unsigned) { return cuMemAllocHost_v2(out, n); }
API cuMemFreeHost(void* p) {
  ENTER();
  auto it = driver.pinned.find((char*) p);
  if (it == driver.pinned.end()) return complain(INVALID_VALUE, "cuMemFreeHost of %p, which is no live pinned block", p);
  int error = drain_all();
  free(p);
  driver.pinned.erase(it);
  return error;
}

// ---- copies and fills

enum Direction { TO_DEVICE, TO_HOST, ON_DEVICE };
static const char* const COPY_NAME[] = {"cuMemcpyHtoD", "cuMemcpyDtoH", "cuMemcpyDtoD"};

static int copy(Direction way, char* to, const char* from, size_t n, void* stream, bool wait) {
  if (!n) return 0;
  if (way != TO_HOST && device_bytes_at(to) < n)
    return complain(INVALID_VALUE, "%s writes %zu bytes at %p, which no live block holds", COPY_NAME[way], n, (void*) to);
  if (way != TO_DEVICE && device_bytes_at(from) < n)
    return complain(INVALID_VALUE, "%s reads %zu bytes at %p, which no live block holds", COPY_NAME[way], n, (void*) from);
  if (!to || !from) return INVALID_VALUE;
  auto s = stream_of(stream);
  if (!s) return INVALID_HANDLE;
  bool pageable = way == TO_DEVICE ? !is_pinned(from) : way == TO_HOST && !is_pinned(to);
  if (s->capture && pageable) {
    s->capture->invalid = true;
    return complain(CAPTURE_UNSUPPORTED, "%s of pageable memory in a captured stream", COPY_NAME[way]);
  }
  auto work = std::make_shared<Operation>();
  work->kind = Operation::COPY;
  work->name = COPY_NAME[way];
  work->shape = way;
  if (way == TO_DEVICE && pageable) {          // the source may change as soon as the call returns
    auto bytes = std::make_shared<std::vector<char>>(from, from + n);
    work->run = [=] { memcpy(to, bytes->data(), n); return 0; };
  } else {
    work->run = [=] { memmove(to, from, n); return 0; };
  }
  if (int e = enqueue(stream, work)) return e;
  return wait || (way == TO_HOST && pageable) ? drain(s) : 0;
}

#define SYNCHRONOUS() ENTER(); if (int e = forbid_in_capture(__func__)) return e; if (int e = drain_all()) return e
API cuMemcpyHtoDAsync_v2(char* to, const char* from, size_t n, void* s) { ENTER(); return copy(TO_DEVICE, to, from, n, s, false); }
API cuMemcpyDtoHAsync_v2(char* to, const char* from, size_t n, void* s) { ENTER(); return copy(TO_HOST, to, from, n, s, false); }
API cuMemcpyDtoDAsync_v2(char* to, const char* from, size_t n, void* s) { ENTER(); return copy(ON_DEVICE, to, from, n, s, false); }
API cuMemcpyHtoD_v2(char* to, const char* from, size_t n) { SYNCHRONOUS(); return copy(TO_DEVICE, to, from, n, nullptr, true); }
API cuMemcpyDtoH_v2(char* to, const char* from, size_t n) { SYNCHRONOUS(); return copy(TO_HOST, to, from, n, nullptr, true); }
API cuMemcpyDtoD_v2(char* to, const char* from, size_t n) { SYNCHRONOUS(); return copy(ON_DEVICE, to, from, n, nullptr, true); }

template <class T> static int fill(T* to, T value, size_t n, void* stream) {
  if (!n) return 0;
  if (device_bytes_at(to) < n * sizeof(T) || (size_t) to % sizeof(T))
    return complain(INVALID_VALUE, "cuMemset of %zu bytes at %p, which no live block holds", n * sizeof(T), (void*) to);
  auto work = std::make_shared<Operation>();
  work->kind = Operation::SET;
  work->name = "cuMemset";
  work->run = [=] { for (size_t i = 0; i < n; i++) to[i] = value; return 0; };
  return enqueue(stream, work);
}
API cuMemsetD8Async(uint8_t* to, unsigned char value, size_t n, void* s) { ENTER(); return fill<uint8_t>(to, value, n, s); }
API cuMemsetD16Async(uint16_t* to, unsigned short value, size_t n, void* s) { ENTER(); return fill<uint16_t>(to, value, n, s); }
API cuMemsetD32Async(uint32_t* to, unsigned value, size_t n, void* s) { ENTER(); return fill<uint32_t>(to, value, n, s); }
API cuMemsetD8_v2(uint8_t* to, unsigned char value, size_t n) { SYNCHRONOUS(); return fill<uint8_t>(to, value, n, nullptr); }
API cuMemsetD32_v2(uint32_t* to, unsigned value, size_t n) { SYNCHRONOUS(); return fill<uint32_t>(to, value, n, nullptr); }
