// What makes the threads of a block wait for each other, and fences.
#include <cstring>

#include "tests/emulated_cuda/scheduler.h"

namespace liquid::emulated {
namespace {

bool IsSame(const Site& a, const Site& b) {
  return a.line == b.line && strcmp(a.file, b.file) == 0;
}

char fences = 0;  // what orders them, for ThreadSanitizer

}  // namespace

int BlockBarrier(bool predicate, Site site) {
  RequireCudaThread("__syncthreads");
  ScheduledThread& thread = RunningThread();
  Block& block = RunningBlock();
  Barrier& barrier = block.barrier;
  if (block.num_returned > 0) {
    Fault("__syncthreads() at " + Text(site) + " after " + std::to_string(block.num_returned) +
          " thread(s) of the block have returned");
  }
  if (barrier.num_arrived == 0) {
    barrier.first = site;
    barrier.votes = 0;
  } else if (!IsSame(barrier.first, site)) {
    Fault("divergent barrier: this thread is in __syncthreads() at " + Text(site) +
          ", others wait in the one at " + Text(barrier.first));
  }
  thread.what = "__syncthreads";
  thread.site = site;
  barrier.votes += predicate ? 1 : 0;
  char* const order = &barrier.order[barrier.phase % 2];
  Release(order);
  if (++barrier.num_arrived == block.num_threads) {
    barrier.num_arrived = 0;
    ++barrier.phase;
    thread.votes = barrier.votes;
    for (ScheduledThread* other : barrier.waiting) {
      other->votes = barrier.votes;
      MakeReady(other, /*soon=*/false);
    }
    barrier.waiting.clear();
  } else {
    barrier.waiting.push_back(&thread);
    Wait(State::kInBarrier);
  }
  Acquire(order);
  return thread.votes;
}

// Stronger than a GPU's: orders against every earlier fence of any thread.
void MemoryFence() {
  RequireCudaThread("__threadfence");
  Acquire(&fences);
  Release(&fences);
}

}  // namespace liquid::emulated
