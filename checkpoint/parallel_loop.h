// A loop over independent pieces of work on a few threads that live as long as the loop.
#ifndef LIQUID_CHECKPOINT_PARALLEL_LOOP_H_
#define LIQUID_CHECKPOINT_PARALLEL_LOOP_H_

#include <atomic>
#include <cstdint>
#include <functional>

#include "absl/status/status.h"

namespace liquid {

// Calls body(i) once for each i in [0, count), from up to `num_threads` threads at once, the
// caller's among them. Returns when all calls have returned. The order is not defined.
void ParallelLoop(int num_threads, int64_t count, const std::function<void(int64_t)>& body);

// The same with bodies that may fail: the first error of any, after which no other call begins.
// Cancelled if `stop` was set before all were done; null: nobody stops it.
absl::Status ParallelLoopUntilError(int num_threads, int64_t count, const std::atomic<bool>* stop,
                                    const std::function<absl::Status(int64_t)>& body);

// The CPUs that this process may use: a number of threads for a loop that does not wait.
int NumUsableCpus();

}  // namespace liquid

#endif  // LIQUID_CHECKPOINT_PARALLEL_LOOP_H_
