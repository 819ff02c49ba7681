// Runs the CUDA threads of one block, each on a fiber of one OS thread. A thread runs until it
// waits or returns; one that never waits costs no switch, but under ThreadSanitizer, where no two
// threads of a block may have the same stack, as nothing orders what they do there.
//
// The order: without a seed, threads of a warp that were released together run before others, so
// that one warp runs as far ahead of the others as it may. With a seed it is random.
#ifndef LIQUID_TESTS_EMULATED_CUDA_SCHEDULER_H_
#define LIQUID_TESTS_EMULATED_CUDA_SCHEDULER_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "tests/emulated_cuda/fibers.h"
#include "tests/emulated_cuda/kernel_interface.h"
#include "tests/emulated_cuda/sanitizer.h"

namespace liquid::emulated {

struct Warp;

enum class State { kUnstarted, kReady, kRunning, kInWarpCollective, kInBarrier, kReturned };

struct ScheduledThread : CudaThread {
  State state = State::kUnstarted;
  Fiber* fiber = nullptr;
  LogicalThread logical_thread = nullptr;
  Warp* warp = nullptr;

  // What it waits in.
  const char* what = "";
  Site site;
  uint32_t mask = 0;        // of a warp collective; zero once that is complete
  void* payload = nullptr;  // of a warp collective
  int votes = 0;            // what a barrier counted
};

// `order` has one address per parity of `phase`: whoever leaves phase n acquires what those who
// arrive at phase n + 1 have not released yet.
struct Warp {
  ScheduledThread* lanes[32] = {};
  uint32_t live = 0;  // lanes that have not returned
  uint32_t returned = 0;
  uint32_t waiting = 0;
  unsigned phase = 0;
  char order[2] = {};
};

struct Barrier {
  std::vector<ScheduledThread*> waiting;
  int num_arrived = 0;
  int votes = 0;
  Site first;  // of those that have arrived
  unsigned phase = 0;
  char order[2] = {};
};

struct Block {
  uint3 index{};
  int num_threads = 0;
  int num_returned = 0;
  Barrier barrier;
  std::vector<Warp> warps;
};

struct GridShape {
  dim3 grid;
  dim3 block;
  size_t dynamic_shared_bytes = 0;
  const void* function = nullptr;
};

// For the operations of CUDA threads.
ScheduledThread& RunningThread();
Block& RunningBlock();
// Runs others until someone has made the running thread ready.
void Wait(State state);
// `soon`: before those that were made ready without it.
void MakeReady(ScheduledThread* thread, bool soon);
// Fails on the host.
void RequireCudaThread(const char* what);
// Back to RunBlock, which returns `fault`.
[[noreturn]] void LeaveBlock(std::string fault);

// For reports.
const GridShape& RunningGrid();
// The i-th of RunningBlock().num_threads.
const ScheduledThread& ThreadOfBlock(int i);
std::string Text(const Site& site);

// For the grid, whose arguments must live until EndGrid.
uint64_t NextRandom();
void BeginGrid(const GridShape& shape, const std::function<void()>& kernel);
// Returns what went wrong, or nothing. The CUDA threads are ordered after what the caller did.
std::string RunBlock(uint3 index);
// The caller is ordered after all that the CUDA threads of the grid have done.
void EndGrid();
// After a fault, where threads are in the middle of something.
void ForgetFibers();

// For signal handlers.
bool IsInKernel();
bool IsStackGuard(const void* address);

}  // namespace liquid::emulated

#endif  // LIQUID_TESTS_EMULATED_CUDA_SCHEDULER_H_
