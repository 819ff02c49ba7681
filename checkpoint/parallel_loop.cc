#include "checkpoint/parallel_loop.h"

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#include "base/mutex.h"

namespace liquid {

void ParallelLoop(int num_threads, int64_t count, const std::function<void(int64_t)>& body) {
  std::atomic<int64_t> next = 0;
  const auto work = [&] {
    for (int64_t i = next++; i < count; i = next++) body(i);
  };
  std::vector<std::thread> threads;
  const int64_t num_others = std::min<int64_t>(num_threads, count) - 1;
  for (int64_t t = 0; t < num_others; ++t) threads.emplace_back(work);
  work();
  for (std::thread& thread : threads) thread.join();
}

absl::Status ParallelLoopUntilError(int num_threads, int64_t count, const std::atomic<bool>* stop,
                                    const std::function<absl::Status(int64_t)>& body) {
  Mutex mutex;
  absl::Status first_error;
  std::atomic<bool> failed = false;
  ParallelLoop(num_threads, count, [&](int64_t i) {
    if (failed) return;
    const bool is_stopped = stop != nullptr && *stop;
    const absl::Status status = is_stopped ? absl::CancelledError("broken off") : body(i);
    if (status.ok()) return;
    failed = true;
    const MutexLock lock(mutex);
    first_error.Update(status);
  });
  return first_error;
}

int NumUsableCpus() { return static_cast<int>(std::max(1u, std::thread::hardware_concurrency())); }

}  // namespace liquid
