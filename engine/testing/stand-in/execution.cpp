// Blocks of CUDA threads on one OS thread. A fiber runs the threads of a warp one after another as plain calls for as
// long as none waits; only a thread that reaches a barrier or a warp collective keeps the fiber's stack, and the next
// thread starts on another. So a kernel without barriers costs a loop, whatever its source looks like.
#include "execution.h"

#include <csetjmp>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <pthread.h>
#include <sys/mman.h>
#include <vector>

// Saves the callee-saved registers (System V, x86-64) on the old stack, its top in *from, and returns on the new one.
extern "C" void heddle_switch(void** from, void* to);
asm(R"(.text
.globl heddle_switch
.hidden heddle_switch
heddle_switch: pushq %rbp; pushq %rbx; pushq %r12; pushq %r13; pushq %r14; pushq %r15
  movq %rsp, (%rdi); movq %rsi, %rsp
  popq %r15; popq %r14; popq %r13; popq %r12; popq %rbx; popq %rbp; popq %rcx; jmp *%rcx
)");

namespace {

enum State : unsigned char { NEW, READY, AT_COLLECTIVE, AT_BARRIER, DONE };

struct Copy { void* to; const void* from; bool valid; };

struct Thread {
  void* stack_pointer;
  StandInCollective operation;
  void* mine;
  unsigned mask, position[3];
  State state;
};

const size_t STACK = 256 * 1024, PAGE = 4096, MAX_THREADS = 1024, CANARY = 256, RUNNER_STACK = 16 * 1024;

Launch running;
void** arguments;
StandInHere* here;
Thread threads[MAX_THREADS];
std::vector<std::vector<Copy>> copies[MAX_THREADS];      // per thread: committed groups, the last one still open
bool copied;
unsigned count, current, warp_end;
void* scheduler;
char *stacks, *runner_stack;                             // collectives run on the latter
std::vector<char*> free_stacks;
std::vector<unsigned char> dynamic_shared;
sigjmp_buf escape;
volatile int fault_code;
std::string fault_reason;
volatile bool inside;
pthread_t runner;

void place(unsigned i) {
  current = i;
  here->linear = i;
  memcpy(here->thread, threads[i].position, sizeof here->thread);
}

void wait(State state) {
  threads[current].state = state;
  heddle_switch(&threads[current].stack_pointer, scheduler);
}

void fault(int code, const char* why) {
  fault_code = code;
  fault_reason = why;
  siglongjmp(escape, 1);
}

bool inside_range(const char* at, size_t bytes, const void* begin, size_t size) {
  size_t from = at - (const char*) begin;
  return from < size && bytes <= size - from;
}

/** An access must lie in a device block that a parameter points into, in the shared memory, or in the thread's own variables. */
void check(const void* address, size_t bytes, bool write) {
  auto at = (const char*) address;
  for (const Block& b : running.blocks) if (inside_range(at, bytes, b.begin, b.bytes)) {
    here->window = b.begin;
    here->window_bytes = b.bytes;
    return;
  }
  const StandInModule& m = *running.module;
  if (inside_range(at, bytes, stacks, MAX_THREADS * STACK) || inside_range(at, bytes, here->dynamic_shared, running.shared_bytes)
      || inside_range(at, bytes, runner_stack - RUNNER_STACK, 2 * RUNNER_STACK)) return;
  const Block* near = nullptr;                               // for the message
  Block variable;
  if (inside_range(at, bytes, m.begin, m.shared_end - m.begin)) {
    for (long i = 0; i < here->variable_count && !near; i++) {
      const StandInVariable& v = here->variables[i];
      if (at < v.begin || at >= v.begin + v.bytes_with_room) continue;
      variable = {v.begin, v.bytes};
      near = &variable;
    }
    if (!near || inside_range(at, bytes, near->begin, near->bytes)) return;
  }
  auto distance = [&](const Block& b) { return at < b.begin ? b.begin - at : at - b.begin - (long) b.bytes; };
  if (!near) for (const Block& b : running.blocks) if (!near || distance(b) < distance(*near)) near = &b;
  char text[200];
  int n = snprintf(text, sizeof text, "a %s of %zu bytes at %p", write ? "write" : "read", bytes, address);
  if (near) snprintf(text + n, sizeof text - n, ", at offset %td of %s of %zu bytes", at - near->begin,
                     near == &variable ? "an array" : "the nearest block", near->bytes);
  fault(700, text);
}

void block_barrier() { wait(AT_BARRIER); }

void collective(unsigned mask, StandInCollective operation, void* mine) {
  Thread& t = threads[current];
  if (!(mask >> (current & 31) & 1)) fault(719, "a lane calls a warp collective whose mask leaves it out");
  t.operation = operation;
  t.mine = mine;
  t.mask = mask;
  wait(AT_COLLECTIVE);
}

void copy_async(void* shared, const void* global, bool valid) {
  if ((size_t) shared & 15) fault(716, "cp.async to an address that is not 16-byte aligned");
  if (valid && (size_t) global & 15) fault(716, "cp.async from an address that is not 16-byte aligned");
  check(shared, 16, true);
  if (valid) check(global, 16, false);
  auto& groups = copies[current];
  if (groups.empty()) groups.emplace_back();
  groups.back().push_back({shared, global, valid});
  copied = true;
}

void copy_commit() {
  auto& groups = copies[current];
  if (groups.empty()) groups.emplace_back();
  groups.emplace_back();
  copied = true;
}

void copy_wait(int pending) {
  auto& groups = copies[current];
  while ((int) groups.size() - 1 > pending) {
    for (const Copy& c : groups.front()) {
      if (c.valid) memcpy(c.to, c.from, 16);
      else memset(c.to, 0, 16);
    }
    groups.erase(groups.begin());
  }
}

// Runs the current thread and the ones of its warp after it that have not started, until one waits or none is left.
void work() {
  for (;;) {
    running.kernel->run(arguments);
    threads[current].state = DONE;
    if (current + 1 < warp_end && threads[current + 1].state == NEW) { place(current + 1); continue; }
    char* base = (char*) ((size_t) __builtin_frame_address(0) & ~(STACK - 1));
    free_stacks.push_back(base);
    void* gone;
    heddle_switch(&gone, scheduler);
  }
}

void start() {
  char* base = free_stacks.back();
  free_stacks.pop_back();
  size_t stagger = ((size_t) base / STACK % 64) * 320;     // else all stacks fight for the same few cache lines
  void** top = (void**) (base + STACK - 64 - stagger);
  *--top = nullptr;                                        // where a return address would lie
  *--top = (void*) work;
  for (int i = 0; i < 6; i++) *--top = nullptr;
  heddle_switch(&scheduler, top);
}

// Performs each collective of the warp at `first` that all lanes of its mask have reached; a lane that has exited does
// not count. Returns whether there was one.
bool resolve(unsigned first) {
  unsigned lanes = warp_end - first, exited = 0;
  for (unsigned i = 0; i < lanes; i++) if (threads[first + i].state == DONE) exited |= 1u << i;
  if (lanes < 32) exited |= ~0u << lanes;
  bool any = false;
  for (unsigned i = 0; i < lanes; i++) {
    Thread& t = threads[first + i];
    if (t.state != AT_COLLECTIVE) continue;
    void* mine[32] = {};
    bool complete = true;
    for (unsigned j = 0; j < 32 && complete; j++) {
      if (!(t.mask & ~exited & 1u << j)) continue;
      Thread& other = threads[first + j];
      complete = other.state == AT_COLLECTIVE && other.mask == t.mask && other.operation == t.operation;
      mine[j] = other.mine;
    }
    if (!complete) continue;
    t.operation(mine, t.mask);
    for (unsigned j = 0; j < 32; j++) if (mine[j]) threads[first + j].state = READY;
    any = true;
  }
  return any;
}

void run_warp(unsigned first) {
  warp_end = first + 32 < count ? first + 32 : count;
  do {
    for (unsigned i = first; i < warp_end; i++) {
      if (threads[i].state == NEW) { place(i); start(); }
      else if (threads[i].state == READY) { place(i); heddle_switch(&scheduler, threads[i].stack_pointer); }
    }
  } while (resolve(first));
}

void poison_shared() {
  memset(running.module->shared_begin, 0xff, running.module->shared_end - running.module->shared_begin);
  memset(here->dynamic_shared, 0xff, running.shared_bytes);
  memset(here->dynamic_shared + running.shared_bytes, 0xa5, CANARY);
}

void run_block() {
  poison_shared();
  for (unsigned i = 0; i < count; i++) threads[i].state = NEW;
  if (copied) for (auto& c : copies) c.clear();
  copied = false;
  for (;;) {
    for (unsigned w = 0; w < count; w += 32) run_warp(w);
    unsigned barrier = 0, stuck = 0, done = 0;
    for (unsigned i = 0; i < count; i++) {
      barrier += threads[i].state == AT_BARRIER;
      stuck += threads[i].state == AT_COLLECTIVE;
      done += threads[i].state == DONE;
    }
    if (stuck) {
      char text[160];
      snprintf(text, sizeof text, "divergent warp collective: %u threads wait in one for lanes that do not come, %u at "
               "__syncthreads, %u exited, of %u", stuck, barrier, done, count);
      fault(719, text);
    }
    if (!barrier) break;
    for (unsigned i = 0; i < count; i++) if (threads[i].state == AT_BARRIER) threads[i].state = READY;
  }
  for (unsigned i = 0; i < CANARY; i++)
    if (here->dynamic_shared[running.shared_bytes + i] != 0xa5) fault(700, "a write behind the dynamic shared memory");
}

// ---- faults: a bad address in a kernel becomes an error; all others go where they went before

struct sigaction before[4];
const int SIGNALS[4] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};

void on_signal(int signal, siginfo_t* info, void* context) {
  if (inside && pthread_equal(pthread_self(), runner)) {
    char text[120];
    if (signal == SIGFPE) fault(700, "an integer division by zero");
    if (signal == SIGILL) fault(716, "an address that is not aligned for its type, or an index outside of an array");
    if (info->si_code == SI_KERNEL) fault(716, "access to a misaligned (or impossible) address");
    snprintf(text, sizeof text, "access to %p", info->si_addr);
    fault(700, text);
  }
  for (int i = 0; i < 4; i++) if (SIGNALS[i] == signal) {
    if (before[i].sa_flags & SA_SIGINFO) before[i].sa_sigaction(signal, info, context);
    else if (before[i].sa_handler == SIG_DFL) sigaction(signal, &before[i], nullptr);
    else if (before[i].sa_handler != SIG_IGN) before[i].sa_handler(signal);
  }
}

void prepare() {
  static bool done;
  if (done) return;
  size_t bytes = MAX_THREADS * STACK;
  char* memory = (char*) mmap(nullptr, bytes + STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  stacks = (char*) (((size_t) memory + STACK - 1) & ~(STACK - 1));
  for (size_t i = 0; i < MAX_THREADS; i++) mprotect(stacks + i * STACK, PAGE, PROT_NONE);
  for (int i = 0; i < 4; i++) {
    struct sigaction action = {};
    action.sa_sigaction = on_signal;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    sigaction(SIGNALS[i], &action, &before[i]);
  }
  done = true;
}

}  // namespace

int execute(const Launch& launch, void** parameters, std::string& why) {
  prepare();
  running = launch;
  arguments = parameters;
  here = launch.module->here;
  count = launch.block[0] * launch.block[1] * launch.block[2];
  for (unsigned i = 0; i < count; i++) {
    threads[i].position[0] = i % launch.block[0];
    threads[i].position[1] = i / launch.block[0] % launch.block[1];
    threads[i].position[2] = i / (launch.block[0] * launch.block[1]);
  }
  if (free_stacks.size() < MAX_THREADS) {                    // the first launch, or the one after a fault
    free_stacks.clear();
    for (size_t i = MAX_THREADS; i-- > 0;) free_stacks.push_back(stacks + i * STACK);
  }
  dynamic_shared.resize(launch.shared_bytes + CANARY + 1024);
  here->dynamic_shared = (unsigned char*) (((size_t) dynamic_shared.data() + 1023) & ~(size_t) 1023);
  memcpy(here->block_dim, launch.block, sizeof launch.block);
  memcpy(here->grid_dim, launch.grid, sizeof launch.grid);
  here->block_barrier = block_barrier;
  here->collective = collective;
  here->copy_async = copy_async;
  here->copy_commit = copy_commit;
  here->copy_wait = copy_wait;
  here->fault = fault;
  here->check = check;
  here->window_bytes = 0;
  runner_stack = (char*) __builtin_frame_address(0);

  static char signal_stack[64 * 1024];
  stack_t mine = {}, old = {};
  mine.ss_sp = signal_stack;
  mine.ss_size = sizeof signal_stack;
  sigaltstack(&mine, &old);
  runner = pthread_self();
  fault_code = 0;
  if (!sigsetjmp(escape, 1)) {
    inside = true;
    for (unsigned z = 0; z < running.grid[2]; z++)
      for (unsigned y = 0; y < running.grid[1]; y++)
        for (unsigned x = 0; x < running.grid[0]; x++) {
          here->block[0] = x;
          here->block[1] = y;
          here->block[2] = z;
          run_block();
        }
  } else {
    char place[160];
    snprintf(place, sizeof place, " (block %u,%u,%u thread %u,%u,%u)", here->block[0], here->block[1], here->block[2],
             here->thread[0], here->thread[1], here->thread[2]);
    fault_reason += place;
    copied = true;
  }
  inside = false;
  sigaltstack(&old, nullptr);
  why = fault_code ? fault_reason : "";
  return fault_code;
}
