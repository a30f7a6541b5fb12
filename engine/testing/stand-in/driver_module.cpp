// Modules (what the NVRTC stand-in made), functions and launches.
#include "driver.h"

#include <cstdlib>
#include <dlfcn.h>
#include <unistd.h>

const unsigned SHARED_OPT_IN = 227 * 1024;

API cuModuleLoadData(void** out, const void* image) {
  ENTER();
  if (!out || !image) return INVALID_VALUE;
  if (memcmp(image, STAND_IN_MAGIC, 8)) return complain(INVALID_IMAGE, "the image was not made by the NVRTC stand-in");
  size_t n;
  memcpy(&n, (const char*) image + 8, 8);
  const char* folder = getenv("TMPDIR");
  const char* bytes = (const char*) image + 16;
  void* library = nullptr;
  bool loaded = true;
  // A kernel was once seen with another's parameters: should the loader take a new file for one deleted since, it gets another file.
  for (int attempt = 0; loaded && attempt < 4; attempt++) {
    std::string path = std::string(folder ? folder : "/tmp") + "/heddle-stand-in-XXXXXX";
    int file = mkstemp(&path[0]);
    if (file < 0) return complain(OUT_OF_MEMORY, "cannot write %s", path.c_str());
    size_t at = 0;
    for (ssize_t wrote; at < n && (wrote = write(file, bytes + at, n - at)) > 0;) at += wrote;
    library = at == n ? dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL) : nullptr;
    if (at < n || !library) complain(INVALID_IMAGE, "%s", at < n ? "cannot write the whole module" : dlerror());
    close(file);
    unlink(path.c_str());
    if (!library) return INVALID_IMAGE;
    loaded = false;
    for (Module* other : driver.modules) loaded |= other->library == library;
  }
  if (loaded) return complain(INVALID_IMAGE, "the loader gave another module's file");
  auto m = std::make_shared<Module>();
  m->library = library;
  m->table = (const StandInModule*) dlsym(library, "heddle_module");
  if (!m->table) return complain(INVALID_IMAGE, "no table of kernels");
  driver.modules.insert(m.get());
  driver.module_owners[m.get()] = m;
  *out = m.get();
  return 0;
}
API cuModuleLoadDataEx(void** out, const void* image, unsigned, int*, void**) { return cuModuleLoadData(out, image); }

API cuModuleUnload(void* handle) {
  ENTER();
  auto m = (Module*) handle;
  if (!driver.modules.erase(m)) return complain(INVALID_HANDLE, "cuModuleUnload of %p, which is no live module", handle);
  int e = drain_all();
  for (Function* f : m->functions) { driver.functions.erase(f); f->module = nullptr; }
  for (Function* f : m->functions) delete f;
  m->table = nullptr;
  dlclose(m->library);
  driver.module_owners.erase(m);
  return e;
}

API cuModuleGetFunction(void** out, void* handle, const char* name) {
  ENTER();
  auto m = (Module*) handle;
  if (!out || !name) return INVALID_VALUE;
  if (!driver.modules.count(m)) return INVALID_HANDLE;
  for (unsigned i = 0; i < m->table->kernel_count; i++) if (!strcmp(m->table->kernels[i].name, name)) {
    for (Function* f : m->functions) if (f->kernel == &m->table->kernels[i]) { *out = f; return 0; }
    auto f = new Function{driver.module_owners[m], &m->table->kernels[i]};
    m->functions.push_back(f);
    driver.functions.insert(f);
    *out = f;
    return 0;
  }
  return NOT_FOUND;
}
API cuModuleGetFunctionCount(unsigned* n, void* handle) {
  ENTER();
  if (!driver.modules.count((Module*) handle)) return INVALID_HANDLE;
  *n = ((Module*) handle)->table->kernel_count;
  return 0;
}

#define FUNCTION(handle)                                                                                    \
  if (!driver.functions.count((Function*) handle))                                                          \
    return complain(INVALID_HANDLE, "%s of %p, which is no live function", __func__, handle);               \
  auto f = (Function*) handle

API cuFuncGetName(const char** name, void* handle) { ENTER(); FUNCTION(handle); *name = f->kernel->name; return 0; }
API cuFuncSetAttribute(void* handle, int attribute, int value) {
  ENTER();
  FUNCTION(handle);
  if (attribute == 9) return 0;                // preferred carve-out
  if (attribute != 8) return INVALID_VALUE;
  if (value < 0 || value > (int) SHARED_OPT_IN)
    return complain(INVALID_VALUE, "%s: %d bytes of dynamic shared memory, at most %u", f->kernel->name, value, SHARED_OPT_IN);
  f->max_dynamic_shared = value;
  return 0;
}
API cuFuncGetAttribute(int* value, int attribute, void* handle) {
  ENTER();
  FUNCTION(handle);
  switch (attribute) {
    case 0: *value = f->kernel->max_threads; break;
    case 1: case 2: case 3: *value = 0; break; // static shared (not known by kernel), constant, local memory
    case 4: *value = 32; break;                // registers
    case 5: case 6: *value = 90; break;        // PTX and binary version
    case 8: *value = f->max_dynamic_shared; break;
    case 9: *value = -1; break;
    default: *value = 0;
  }
  return 0;
}
API cuFuncGetParamInfo(void* handle, size_t index, size_t* offset, size_t* size) {
  ENTER();
  FUNCTION(handle);
  if (index >= f->kernel->parameter_count) return INVALID_VALUE;
  *offset = f->kernel->parameters[index].offset;
  if (size) *size = f->kernel->parameters[index].size;
  return 0;
}
API cuOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, void* handle, int threads, size_t shared) {
  ENTER();
  FUNCTION(handle);
  if (threads < 1) return INVALID_VALUE;
  int by_threads = threads > (int) f->kernel->max_threads ? 0 : 2048 / ((threads + 31) / 32 * 32);
  int by_shared = shared > f->max_dynamic_shared ? 0 : (int) (228 * 1024 / (shared + 1024));
  *blocks = by_threads < by_shared ? by_threads : by_shared;
  if (*blocks > 32) *blocks = 32;
  return 0;
}

API cuLaunchKernel(void* handle, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                   unsigned shared, void* stream, void** parameters, void** extra) {
  ENTER();
  FUNCTION(handle);
  const StandInKernel* k = f->kernel;
  if (!gx || !gy || !gz || gx > 2147483647u || gy > 65535 || gz > 65535)
    return complain(INVALID_VALUE, "%s: grid %u,%u,%u", k->name, gx, gy, gz);
  if (!bx || !by || !bz || bx > 1024 || by > 1024 || bz > 64 || bx * by * bz > 1024)
    return complain(INVALID_VALUE, "%s: block %u,%u,%u", k->name, bx, by, bz);
  if (bx * by * bz > k->max_threads)
    return complain(LAUNCH_OUT_OF_RESOURCES, "%s: block %u,%u,%u, its launch bound is %u", k->name, bx, by, bz, k->max_threads);
  if (shared > f->max_dynamic_shared)
    return complain(INVALID_VALUE, "%s: %u bytes of dynamic shared memory, %u allowed", k->name, shared, f->max_dynamic_shared);

  unsigned count = k->parameter_count, bytes = k->parameters[count].offset;
  auto block = std::make_shared<std::vector<unsigned char>>(bytes + 16);
  if (extra) {
    const unsigned char* buffer = nullptr;
    size_t size = 0;
    for (int i = 0; extra[i]; i += 2) {
      if (extra[i] == (void*) 1) buffer = (const unsigned char*) extra[i + 1];
      else if (extra[i] == (void*) 2) size = *(size_t*) extra[i + 1];
      else return INVALID_VALUE;
    }
    if (parameters || !buffer || size < bytes)
      return complain(INVALID_VALUE, "%s: %zu bytes of parameters, it takes %u", k->name, size, bytes);
    memcpy(block->data(), buffer, bytes);
  } else {
    if (count && !parameters) return INVALID_VALUE;
    for (unsigned i = 0; i < count; i++) {
      if (!parameters[i]) return complain(INVALID_VALUE, "%s: parameter %u is null", k->name, i);
      memcpy(block->data() + k->parameters[i].offset, parameters[i], k->parameters[i].size);
    }
  }
  std::weak_ptr<Module> module = f->module;
  Launch launch = {f->module->table, k, {gx, gy, gz}, {bx, by, bz}, shared, {}};
  std::string name = k->name;
  auto work = std::make_shared<Operation>();
  work->kind = Operation::KERNEL;
  work->name = name;
  work->run = [=]() -> int {
    if (module.expired()) return complain(INVALID_HANDLE, "%s: its module was unloaded", name.c_str());
    std::vector<void*> p(count + 1);
    for (unsigned i = 0; i < count; i++) p[i] = block->data() + launch.kernel->parameters[i].offset;
    driver.kernel_launches++;
    Launch allowed = launch;
    for (size_t at = 0; at + 8 <= bytes; at += 8) {
      const char* pointer;
      memcpy(&pointer, block->data() + at, 8);
      Block b = block_around(pointer);
      if (b.bytes) allowed.blocks.push_back(b);
    }
    std::string why;
    int e = execute(allowed, p.data(), why);
    return e ? complain(e, "kernel %s: %s", name.c_str(), why.c_str()) : 0;
  };
  return enqueue(stream, work);
}
