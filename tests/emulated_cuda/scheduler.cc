#include "tests/emulated_cuda/scheduler.h"

#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <utility>

#include "tests/emulated_cuda/fault.h"
#include "tests/emulated_cuda/options.h"

// Kernels read these; NVIDIA's device_launch_parameters.h declares them `extern const`.
extern "C" {
uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;
int warpSize = 32;
}

namespace liquid::emulated {

CudaThread* current = nullptr;

namespace {

constexpr unsigned kMaxThreads = 1024;  // of a block

// A ring in fixed storage: the heap is not used while CUDA threads run.
class ReadyQueue {
 public:
  size_t size() const { return tail_ - head_; }
  void Clear() { head_ = tail_ = 0; }
  void Push(ScheduledThread* thread) { threads_[tail_++ % kMaxThreads] = thread; }
  // The i-th; it changes places with the first.
  ScheduledThread* Take(size_t i) {
    std::swap(threads_[(head_ + i) % kMaxThreads], threads_[head_ % kMaxThreads]);
    return threads_[head_++ % kMaxThreads];
  }

 private:
  ScheduledThread* threads_[kMaxThreads];
  unsigned head_ = 0;
  unsigned tail_ = 0;
};

void RunThreads();

// What the threads of a block run on, for one block after the other.
struct Crew {
  std::deque<ScheduledThread> threads;  // as many as the largest block so far had
  std::vector<LogicalThread> logical_threads;
  FiberPool fibers{RunThreads, GetOptions().stack_bytes};
  // Orders the end of a block before the next one of this crew, and not threads of one block.
  char threads_return[2] = {};
  uint64_t num_blocks = 0;

  char* end_of_last_block() { return &threads_return[(num_blocks + 1) % 2]; }
  char* end_of_this_block() { return &threads_return[num_blocks % 2]; }
};

struct Scheduler {
  const GridShape* grid = nullptr;
  const std::function<void()>* kernel = nullptr;
  uint64_t num_grids = 0;
  uint64_t random_state = 0;
  std::string fault;

  // For unordered blocks two crews take turns, of which neither learns what the other has done. So
  // ThreadSanitizer sees every race between a block and the next one.
  Crew crews[2];
  Crew* crew = &crews[0];
  uint64_t num_blocks = 0;

  Block block;
  std::vector<ScheduledThread*> unstarted;
  size_t num_started = 0;
  ReadyQueue soon;
  ReadyQueue ready;

  Fiber os_thread{.is_os_thread = true};
  LogicalThread host = nullptr;
  char block_begins = 0;  // orders what the host did before the block
};

Scheduler& TheScheduler() {
  static auto* const scheduler = new Scheduler;  // never destroyed: streams may outlive main
  return *scheduler;
}

// The next to run, or null.
ScheduledThread* Next() {
  Scheduler& s = TheScheduler();
  const size_t num_soon = s.soon.size();
  const size_t num_ready = s.ready.size();
  const size_t num_unstarted = s.unstarted.size() - s.num_started;
  const size_t total = num_soon + num_ready + num_unstarted;
  if (total == 0) return nullptr;
  size_t i = GetOptions().seed == 0 ? 0 : NextRandom() % total;
  if (i < num_soon) return s.soon.Take(i);
  i -= num_soon;
  if (i < num_ready) return s.ready.Take(i);
  i -= num_ready;
  std::swap(s.unstarted[s.num_started], s.unstarted[s.num_started + i]);
  return s.unstarted[s.num_started++];
}

void Become(ScheduledThread* thread) {
  thread->state = State::kRunning;
  current = thread;
  threadIdx = thread->index;
  BecomeLogicalThread(thread->logical_thread);
}

// To a thread that has its own fiber or, if it has not begun, gets one.
void SwitchTo(ScheduledThread* thread, Fiber* from) {
  if (thread->fiber == nullptr) thread->fiber = TheScheduler().crew->fibers.Take();
  Become(thread);
  Switch(from, thread->fiber);
}

void SwitchToHost(Fiber* from) {
  current = nullptr;
  BecomeLogicalThread(TheScheduler().host);
  Switch(from, &TheScheduler().os_thread);
}

// The running thread's kernel has returned.
void Finish(ScheduledThread& thread) {
  if (thread.async.count != 0) {
    Fault("the thread returned with " + std::to_string(thread.async.count) +
          " cp.async copies that it did not wait for");
  }
  thread.state = State::kReturned;
  Release(TheScheduler().crew->end_of_this_block());
  Block& block = RunningBlock();
  ++block.num_returned;
  Warp& warp = *thread.warp;
  warp.live &= ~(1u << thread.lane);
  warp.returned |= 1u << thread.lane;
  for (uint32_t lanes = warp.waiting; lanes != 0; lanes &= lanes - 1) {
    const ScheduledThread& other = *warp.lanes[std::countr_zero(lanes)];
    if ((other.mask >> thread.lane & 1) != 0) {
      Fault("this thread returned while lane " + std::to_string(other.lane) + " waits for it in " +
            other.what + " at " + Text(other.site));
    }
  }
  if (block.barrier.num_arrived > 0) {
    Fault("a thread returned while others wait in __syncthreads() at " + Text(block.barrier.first));
  }
}

// What every fiber does: threads from begin to end, one after the other as long as none waits.
void RunThreads() {
  Scheduler& s = TheScheduler();
  for (;;) {
    auto& thread = static_cast<ScheduledThread&>(*current);
    Fiber* const fiber = thread.fiber;
    Acquire(&s.block_begins);
    Acquire(s.crew->end_of_last_block());
    (*s.kernel)();
    Finish(thread);
    ScheduledThread* next = Next();
    if (!kTsan && next != nullptr && next->state == State::kUnstarted) {
      next->fiber = fiber;
      Become(next);
      continue;
    }
    if (next == nullptr && s.block.num_returned != s.block.num_threads) Fault(DescribeDeadlock());
    if (!kTsan) s.crew->fibers.GiveBack(fiber);
    // Whoever takes this fiber again has made its thread the running one.
    if (next == nullptr) {
      SwitchToHost(fiber);
    } else {
      SwitchTo(next, fiber);
    }
  }
}

void PrepareThread(ScheduledThread& thread, unsigned linear, const dim3& shape) {
  Scheduler& s = TheScheduler();
  thread.index = {linear % shape.x, linear / shape.x % shape.y, linear / shape.x / shape.y};
  thread.linear = linear;
  thread.lane = linear % 32;
  thread.async.count = 0;
  thread.async.group = 0;
  thread.state = State::kUnstarted;
  thread.fiber = nullptr;
  thread.logical_thread = s.crew->logical_threads[linear];
  thread.warp = &s.block.warps[linear / 32];
  thread.warp->lanes[thread.lane] = &thread;
  thread.warp->live |= 1u << thread.lane;
  thread.what = "";
  s.unstarted.push_back(&thread);
}

}  // namespace

ScheduledThread& RunningThread() { return static_cast<ScheduledThread&>(*current); }
Block& RunningBlock() { return TheScheduler().block; }
const GridShape& RunningGrid() { return *TheScheduler().grid; }
const ScheduledThread& ThreadOfBlock(int i) { return TheScheduler().crew->threads[i]; }
bool IsInKernel() { return current != nullptr; }
bool IsStackGuard(const void* address) { return TheScheduler().crew->fibers.IsGuardPage(address); }

std::string Text(const Site& site) {
  return std::string(site.file) + ":" + std::to_string(site.line);
}

uint64_t NextRandom() {  // splitmix64
  uint64_t z = (TheScheduler().random_state += 0x9e3779b97f4a7c15);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

void RequireCudaThread(const char* what) {
  if (current != nullptr) return;
  fprintf(stderr, "emulated CUDA: %s called on the host\n", what);
  abort();
}

void Wait(State state) {
  ScheduledThread& thread = RunningThread();
  thread.state = state;
  ScheduledThread* next = Next();
  if (next == nullptr) Fault(DescribeDeadlock());
  if (next == &thread) {
    Become(&thread);
  } else {
    SwitchTo(next, thread.fiber);
  }
}

void MakeReady(ScheduledThread* thread, bool soon) {
  thread->state = State::kReady;
  (soon ? TheScheduler().soon : TheScheduler().ready).Push(thread);
}

void LeaveBlock(std::string fault) {
  TheScheduler().fault = std::move(fault);
  Release(TheScheduler().crew->end_of_this_block());
  SwitchToHost(RunningThread().fiber);
  abort();
}

void BeginGrid(const GridShape& shape, const std::function<void()>& kernel) {
  Scheduler& s = TheScheduler();
  s.grid = &shape;
  s.kernel = &kernel;
  s.random_state = GetOptions().seed + 7919 * ++s.num_grids;
  blockDim = shape.block;
  gridDim = shape.grid;
}

std::string RunBlock(uint3 index) {
  Scheduler& s = TheScheduler();
  const dim3& shape = s.grid->block;
  const unsigned num_threads = shape.x * shape.y * shape.z;
  s.host = CurrentLogicalThread();
  s.fault.clear();
  s.block.index = blockIdx = index;
  s.block.num_threads = static_cast<int>(num_threads);
  s.block.num_returned = 0;
  Barrier& barrier = s.block.barrier;
  barrier.num_arrived = 0;
  barrier.waiting.clear();
  barrier.waiting.reserve(kMaxThreads);
  s.block.warps.assign((num_threads + 31) / 32, Warp{});
  s.soon.Clear();
  s.ready.Clear();
  s.unstarted.clear();
  s.num_started = 0;
  if (GetOptions().race_blocks) s.crew = &s.crews[s.num_blocks++ % 2];
  Crew& crew = *s.crew;
  ++crew.num_blocks;
  while (crew.threads.size() < num_threads) {
    crew.threads.emplace_back();
    crew.logical_threads.push_back(NewLogicalThread());
  }
  for (unsigned i = 0; i < num_threads; ++i) PrepareThread(crew.threads[i], i, shape);
  Release(&s.block_begins);
  SwitchTo(Next(), &s.os_thread);
  if (kTsan) crew.fibers.GiveBackAll();
  if (!GetOptions().race_blocks) Acquire(crew.end_of_this_block());
  return s.fault;
}

void EndGrid() {
  for (Crew& crew : TheScheduler().crews) {
    Acquire(crew.end_of_last_block());
    Acquire(crew.end_of_this_block());
  }
}

void ForgetFibers() {
  for (Crew& crew : TheScheduler().crews) crew.fibers.Clear();
}

}  // namespace liquid::emulated
