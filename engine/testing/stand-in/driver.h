// What the files of libcuda.so.1 share. Work on a stream is queued and runs only when somebody synchronises with it (or
// at once under HEDDLE_STAND_IN_EAGER=1): code that reads a result, reuses a buffer or crosses streams without waiting
// computes with poison here, as it may on a GPU. One lock covers every call.
#pragma once
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>
#include "execution.h"

#define API extern "C" __attribute__((visibility("default"))) int

enum {
  SUCCESS = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NOT_INITIALIZED = 3, INVALID_DEVICE = 101, INVALID_IMAGE = 200,
  INVALID_CONTEXT = 201, INVALID_HANDLE = 400, NOT_FOUND = 500, NOT_READY = 600, ILLEGAL_ADDRESS = 700,
  LAUNCH_OUT_OF_RESOURCES = 701, CONTEXT_IS_DESTROYED = 709, NOT_SUPPORTED = 801, CAPTURE_UNSUPPORTED = 900,
  CAPTURE_INVALIDATED = 901, CAPTURE_MERGE = 902, CAPTURE_UNMATCHED = 903, CAPTURE_UNJOINED = 904,
  CAPTURE_IMPLICIT = 906, CAPTURED_EVENT = 907, CAPTURE_WRONG_THREAD = 908, GRAPH_UPDATE_FAILURE = 910
};

struct Stream;

/** One piece of work in a queue or a graph; `run` returns a CUresult. */
struct Operation {
  enum Kind { KERNEL, COPY, SET, LIBRARY, GRAPH, RECORD, WAIT } kind;
  std::string name;
  std::function<int()> run;
  long shape = 0;                              // what a graph update may not change: a copy's direction
  std::vector<int> after;                      // in a graph: the nodes that it depends on
};
typedef std::shared_ptr<Operation> Work;

struct Graph { std::vector<Work> nodes; };
struct Executable { std::shared_ptr<Graph> graph; };

struct Capture {
  Graph graph;
  Stream* origin;
  int mode;
  uint64_t thread;
  bool invalid = false;
};

struct Stream {
  unsigned flags = 0;
  std::deque<Work> pending;
  std::shared_ptr<Capture> capture;
  std::set<int> last;                          // the nodes that the next captured one depends on
};

/** One recording of an event. */
struct Mark {
  bool done = false;
  double milliseconds = 0;
  std::shared_ptr<Stream> stream;
  std::shared_ptr<Capture> capture;
  std::set<int> nodes;
};

struct Event { unsigned flags = 0; std::shared_ptr<Mark> mark; };

struct Module { void* library = nullptr; const StandInModule* table = nullptr; std::vector<struct Function*> functions; };
struct Function {
  std::shared_ptr<Module> module;
  const StandInKernel* kernel;
  unsigned max_dynamic_shared = 48 * 1024;
};

struct Driver {
  std::mutex lock;
  bool initialized = false;
  int retained = 0;                            // of the primary context
  int sticky = 0;                              // the fault that every later call answers
  size_t used = 0, limit;
  bool eager;
  std::map<char*, size_t> blocks, pinned;
  std::map<Stream*, std::shared_ptr<Stream>> streams;
  std::set<Event*> events;
  std::set<Module*> modules;
  std::map<Module*, std::shared_ptr<Module>> module_owners;
  std::set<Function*> functions;
  std::map<Graph*, std::shared_ptr<Graph>> graphs;
  std::set<Executable*> executables;
  std::vector<std::weak_ptr<Capture>> captures;
  long kernel_launches = 0, graph_launches = 0, damaged = 0;
};

extern Driver driver;
extern thread_local void* current_context;

/** Takes the lock and checks what every call on a context needs; `error` is what to answer, or 0. */
struct Call {
  std::unique_lock<std::mutex> guard;
  int error;
  explicit Call(bool needs_context = true);
};
#define ENTER() Call call; if (call.error) return call.error

/** Writes one line to stderr that explains an error, and returns its code. */
int complain(int code, const char* format, ...) __attribute__((format(printf, 2, 3)));

uint64_t thread_id();

/** 0, or the error for a call that may not be made while a stream is being captured; such a call spoils the capture. */
int forbid_in_capture(const char* call);

/** The stream of a handle (0 and 1 are the legacy default stream, 2 is treated alike), or null. */
std::shared_ptr<Stream> stream_of(void* handle);

/** Records the work if the stream is being captured, else queues it. */
int enqueue(void* stream, Work work);

/** Runs what is pending on a stream, up to the mark if one is given. */
int drain(const std::shared_ptr<Stream>& stream, const Mark* until = nullptr);
int drain_all();

/** The number of bytes from `address` to the end of its live device block, 0 where there is none. */
size_t device_bytes_at(const void* address);
bool is_pinned(const void* address);

/** The live block, of device or pinned memory, that holds the address; without bytes if there is none. */
Block block_around(const void* address);
void release_everything();
