// What becomes of an access to memory that is not there: a report that names the allocation and,
// within a kernel, the CUDA thread. AddressSanitizer and ThreadSanitizer have handlers of their
// own.
#include <execinfo.h>
#include <signal.h>
#include <ucontext.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "tests/emulated_cuda/device_memory.h"
#include "tests/emulated_cuda/kernel_interface.h"
#include "tests/emulated_cuda/sanitizer.h"
#include "tests/emulated_cuda/scheduler.h"

namespace liquid::emulated {
namespace {

constexpr size_t kHandlerStackBytes = 256 << 10;

std::string* fault_text = nullptr;
struct sigaction previous_action;

[[gnu::used]] void FaultAfterSignal() { Fault(*fault_text); }

// Lets the handler return into FaultAfterSignal on the stack of the CUDA thread, below what the
// interrupted function may still have there.
void ContinueInFault(ucontext_t& context) {
  constexpr greg_t kRedZoneAndMore = 1024;
  auto& registers = context.uc_mcontext.gregs;
  registers[REG_RIP] = reinterpret_cast<greg_t>(&FaultAfterSignal);
  registers[REG_RSP] = ((registers[REG_RSP] - kRedZoneAndMore) & ~greg_t{15}) - 8;
}

// Not safe for signals in general; the process is about to end anyway, and the heap was not being
// used: it was a kernel or the host's own code that touched the address.
void OnSegmentationFault(int signal, siginfo_t* info, void* context) {
  const void* address = info->si_addr;
  if (OpenInWindow(address)) return;
  const std::string what = DescribeAddress(address);
  char at[32];
  snprintf(at, sizeof at, "%p", address);
  if (IsInKernel() && !IsStackGuard(address)) {
    fault_text = new std::string("illegal address " + std::string(at) + ": " + what);
    ContinueInFault(*static_cast<ucontext_t*>(context));
    return;
  }
  if (IsInKernel()) {
    fprintf(stderr,
            "emulated CUDA: FAULT: stack overflow of a CUDA thread (LIQUID_EMULATED_STACK)\n");
  } else {
    fprintf(stderr, "emulated CUDA: FAULT: HOST code touched %s, %s\n", at, what.c_str());
  }
  void* frames[24];
  backtrace_symbols_fd(frames, backtrace(frames, 24), STDERR_FILENO);
  sigaction(signal, &previous_action, nullptr);
}

void Install() {
  stack_t stack{};
  stack.ss_sp = malloc(kHandlerStackBytes);
  stack.ss_size = kHandlerStackBytes;
  sigaltstack(&stack, nullptr);
  struct sigaction action {};
  action.sa_sigaction = OnSegmentationFault;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
  sigaction(SIGSEGV, &action, &previous_action);
}

}  // namespace

void CatchAddressFaults() {
  if (kAsan || kTsan) return;
  static const bool once = (Install(), true);
  static_cast<void>(once);
}

}  // namespace liquid::emulated
