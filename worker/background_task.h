// Work on a thread of its own, beside training.
#ifndef LIQUID_WORKER_BACKGROUND_TASK_H_
#define LIQUID_WORKER_BACKGROUND_TASK_H_

#include <atomic>
#include <functional>
#include <optional>
#include <thread>

#include "absl/status/status.h"

namespace liquid {

// One piece of work at a time. Not thread-safe.
class BackgroundTask {
 public:
  BackgroundTask() = default;
  ~BackgroundTask() { static_cast<void>(Wait()); }

  // REQUIRES: nothing is at work.
  void Start(std::function<absl::Status()> work);
  // What the newest work came to, nothing while it is at work; OK if there never was any.
  std::optional<absl::Status> Poll();
  absl::Status Wait();

 private:
  std::thread thread_;
  std::atomic<bool> is_done_ = true;
  absl::Status status_;  // the thread's until is_done_
};

}  // namespace liquid

#endif  // LIQUID_WORKER_BACKGROUND_TASK_H_
