// What a compiled CUDA source and libcuda.so.1 know of each other. Each source becomes one shared object that exports a
// single StandInModule; the driver fills in the positions and the runtime, then calls the kernels. No library type is
// used here, so that compiling a kernel pulls in no header.
#pragma once

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
  unsigned char *shared_begin, *shared_end;    // the module's static __shared__ variables (all zero-initialised data)
};
