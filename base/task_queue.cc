#include "base/task_queue.h"

#include <utility>

namespace liquid {

TaskQueue::~TaskQueue() {
  {
    MutexLock lock(mutex_);
    is_closing_ = true;
    changed_.SignalAll();
  }
  thread_.join();
}

void TaskQueue::Post(std::function<void()> task) {
  MutexLock lock(mutex_);
  tasks_.push_back(std::move(task));
  changed_.SignalAll();
}

void TaskQueue::Drain() {
  MutexLock lock(mutex_);
  while (!tasks_.empty()) changed_.Wait(mutex_);
}

void TaskQueue::Work() {
  while (true) {
    std::function<void()>* task = nullptr;
    {
      MutexLock lock(mutex_);
      while (tasks_.empty() && !is_closing_) changed_.Wait(mutex_);
      if (tasks_.empty()) return;
      task = &tasks_.front();  // a deque's elements stay where they are
    }
    (*task)();
    MutexLock lock(mutex_);
    tasks_.pop_front();
    changed_.SignalAll();
  }
}

}  // namespace liquid
