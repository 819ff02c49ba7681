// Stacks and switches between them. A switch costs ten nanoseconds; ucontext would make two system
// calls.
#ifndef LIQUID_TESTS_EMULATED_CUDA_FIBERS_H_
#define LIQUID_TESTS_EMULATED_CUDA_FIBERS_H_

#include <boost/context/detail/fcontext.hpp>
#include <cstddef>
#include <memory>
#include <vector>

namespace liquid::emulated {

struct Fiber {
  boost::context::detail::fcontext_t resume = nullptr;
  char* stack = nullptr;  // lowest byte; of an OS thread's own stack only known while it is left
  size_t stack_bytes = 0;
  bool is_os_thread = false;
  void* fake_stack = nullptr;  // AddressSanitizer's
  void (*body)() = nullptr;
};

// Leaves `from` and resumes `to`. Returns when something switches to `from`.
void Switch(Fiber* from, Fiber* to);

// Fibers that run `body`, which never returns, on stacks with a guard page.
class FiberPool {
 public:
  FiberPool(void (*body)(), size_t stack_bytes);
  ~FiberPool() { Clear(); }
  FiberPool(const FiberPool&) = delete;
  FiberPool& operator=(const FiberPool&) = delete;

  // An idle fiber, or a new one.
  Fiber* Take();
  void GiveBack(Fiber* fiber) { idle_.push_back(fiber); }
  // All are idle.
  void GiveBackAll();
  // All are gone, with whatever they were doing. The next ones have stacks that nobody has used.
  void Clear();
  // Whether an access there means that a stack is full.
  bool IsGuardPage(const void* address) const;

 private:
  Fiber* New();

  void (*const body_)();
  const size_t stack_bytes_;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<Fiber*> idle_;
};

}  // namespace liquid::emulated

#endif  // LIQUID_TESTS_EMULATED_CUDA_FIBERS_H_
