// A thread that does what it is given, in order.
#ifndef LIQUID_BASE_TASK_QUEUE_H_
#define LIQUID_BASE_TASK_QUEUE_H_

#include <deque>
#include <functional>
#include <thread>

#include "base/mutex.h"

namespace liquid {

// Thread-safe. Does all that it was given before it goes.
class TaskQueue {
 public:
  TaskQueue() : thread_([this] { Work(); }) {}
  ~TaskQueue();

  void Post(std::function<void()> task);
  // Waits until all that was posted before is done.
  void Drain();

 private:
  void Work();

  Mutex mutex_;
  CondVar changed_;
  std::deque<std::function<void()>> tasks_ ABSL_GUARDED_BY(mutex_);  // the first one is at work
  bool is_closing_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;  // last: uses the others
};

}  // namespace liquid

#endif  // LIQUID_BASE_TASK_QUEUE_H_
