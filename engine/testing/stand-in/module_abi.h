// What a compiled CUDA source and libcuda.so.1 know of each other. Each source becomes one shared object that exports a
// single StandInModule; the driver fills in the positions and the runtime, then calls the kernels. No library type is
// used here, so that compiling a kernel pulls in no header.
#pragma once
typedef decltype(sizeof(0)) size_t;

#define STAND_IN_MAGIC "HDLSIM01"              // a 'cubin': this, the byte count as 8 bytes, then the shared object

/** A warp-wide operation: `lane[i]` is what lane i brought, or null where lane i takes no part. */
typedef void (*StandInCollective)(void** lane, unsigned mask);

/** Where the running CUDA thread is, and what it may call. One per module, rewritten at every switch of threads. */
struct StandInHere {
  unsigned thread[3], block[3], block_dim[3], grid_dim[3];
  unsigned linear;                             // of the thread in its block
  unsigned char* dynamic_shared;
  void (*block_barrier)();
  void (*collective)(unsigned mask, StandInCollective operation, void* mine);
  void (*copy_async)(void* shared, const void* global, bool valid);  // 16 bytes, done at the wait, as late as allowed
  void (*copy_commit)();
  void (*copy_wait)(int pending);
  void (*fault)(int code, const char* why);    // does not return
  void (*check)(const void* address, size_t bytes, bool write);      // a fault unless the kernel may use these bytes
  const char* window;                          // where it may, as found by the last check
  size_t window_bytes;
  const struct StandInVariable* variables;     // the module's arrays, with room behind each
  long variable_count;
};

/** As the compiler writes it under -fsanitize=kernel-address. */
struct StandInVariable {
  const char* begin;
  size_t bytes, bytes_with_room;
  const char *name, *file;
  size_t dynamic;
  const void *place, *odr;
};

struct StandInParameter { unsigned offset, size; };

struct StandInKernel {
  const char* name;
  void (*run)(void** parameters);
  const StandInParameter* parameters;
  unsigned parameter_count;
  unsigned max_threads;                        // of __launch_bounds__, else 1024
};

struct StandInModule {
  StandInHere* here;
  const StandInKernel* kernels;
  unsigned kernel_count;
  const unsigned char* begin;                  // of the shared object in memory; its end is that of the next
  unsigned char *shared_begin, *shared_end;    // the module's static __shared__ variables (all zero-initialised data)
};
