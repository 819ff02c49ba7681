// Work that is done bit by bit, since the thread that does it must not block: a coroutine that
// waits for conditions.
#ifndef LIQUID_TESTS_EMULATED_CUDA_NCCL_TASK_H_
#define LIQUID_TESTS_EMULATED_CUDA_NCCL_TASK_H_

#include <coroutine>
#include <exception>
#include <functional>
#include <utility>

namespace liquid::emulated {

class Task {
 public:
  struct promise_type {
    std::function<bool()> condition;  // empty, or what it waits for

    Task get_return_object() {
      return Task(std::coroutine_handle<promise_type>::from_promise(*this));
    }
    std::suspend_always initial_suspend() noexcept { return {}; }
    std::suspend_always final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() { std::terminate(); }
  };

  Task(Task&& other) noexcept : coroutine_(std::exchange(other.coroutine_, {})) {}
  Task& operator=(Task&&) = delete;
  ~Task() {
    if (coroutine_) coroutine_.destroy();
  }

  // Goes as far as it can. Returns whether it is done.
  bool Poll() {
    while (!coroutine_.done()) {
      auto& condition = coroutine_.promise().condition;
      if (condition && !condition()) return false;
      condition = nullptr;
      coroutine_.resume();
    }
    return true;
  }

 private:
  explicit Task(std::coroutine_handle<promise_type> coroutine) : coroutine_(coroutine) {}

  std::coroutine_handle<promise_type> coroutine_;
};

// `Until until{...}; co_await until;` in a Task. It must have a name: GCC 12 destroys an operand
// without one twice.
struct Until {
  std::function<bool()> condition;

  bool await_ready() { return condition(); }
  void await_suspend(std::coroutine_handle<Task::promise_type> coroutine) {
    coroutine.promise().condition = condition;
  }
  void await_resume() {}
};

}  // namespace liquid::emulated

#endif  // LIQUID_TESTS_EMULATED_CUDA_NCCL_TASK_H_
