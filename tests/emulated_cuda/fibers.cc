#include "tests/emulated_cuda/fibers.h"

#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>

#include "tests/emulated_cuda/sanitizer.h"

namespace liquid::emulated {
namespace {

namespace context = boost::context::detail;

constexpr size_t kPage = 4096;
constexpr size_t kMaxThreadsOfABlock = 1024;

// What a switch carries across.
struct Crossing {
  Fiber* from;
  Fiber* to;
};

void Land(context::transfer_t transfer) {
  const auto& crossing = *static_cast<const Crossing*>(transfer.data);
  Fiber* from = crossing.from;
  from->resume = transfer.fctx;
  const void* bottom = nullptr;
  size_t bytes = 0;
  EndStackSwitch(crossing.to->fake_stack, &bottom, &bytes);
  if (from->is_os_thread) {
    from->stack = static_cast<char*>(const_cast<void*>(bottom));
    from->stack_bytes = bytes;
  }
}

void Enter(context::transfer_t transfer) {
  Fiber* self = static_cast<const Crossing*>(transfer.data)->to;
  Land(transfer);
  self->body();
  abort();
}

}  // namespace

void Switch(Fiber* from, Fiber* to) {
  BeginStackSwitch(&from->fake_stack, to->stack, to->stack_bytes);
  Crossing crossing{from, to};
  Land(context::jump_fcontext(to->resume, &crossing));
}

FiberPool::FiberPool(void (*body)(), size_t stack_bytes) : body_(body), stack_bytes_(stack_bytes) {
  // The heap is not used while CUDA threads run: ThreadSanitizer watches it.
  fibers_.reserve(kMaxThreadsOfABlock);
  idle_.reserve(kMaxThreadsOfABlock);
}

Fiber* FiberPool::Take() {
  if (idle_.empty()) return New();
  Fiber* fiber = idle_.back();
  idle_.pop_back();
  return fiber;
}

Fiber* FiberPool::New() {
  void* memory = mmap(nullptr, stack_bytes_ + kPage, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  if (memory == MAP_FAILED || mprotect(memory, kPage, PROT_NONE) != 0) {
    perror("emulated CUDA: stack of a CUDA thread");
    abort();
  }
  auto fiber = std::make_unique<Fiber>();
  fiber->stack = static_cast<char*>(memory) + kPage;
  fiber->stack_bytes = stack_bytes_;
  fiber->body = body_;
  fiber->resume = context::make_fcontext(fiber->stack + stack_bytes_, stack_bytes_, Enter);
  fibers_.push_back(std::move(fiber));
  return fibers_.back().get();
}

void FiberPool::GiveBackAll() {
  idle_.clear();
  for (const auto& fiber : fibers_) idle_.push_back(fiber.get());
}

void FiberPool::Clear() {
  for (const auto& fiber : fibers_) {
    Unpoison(fiber->stack, fiber->stack_bytes);
    munmap(fiber->stack - kPage, fiber->stack_bytes + kPage);
  }
  fibers_.clear();
  idle_.clear();
}

bool FiberPool::IsGuardPage(const void* address) const {
  for (const auto& fiber : fibers_) {
    if (address >= fiber->stack - kPage && address < fiber->stack) return true;
  }
  return false;
}

}  // namespace liquid::emulated
