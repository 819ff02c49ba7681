#include "tests/emulated_cuda/fault.h"

#include <cuda_runtime_api.h>
#include <cxxabi.h>
#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <utility>

#include "tests/emulated_cuda/options.h"
#include "tests/emulated_cuda/scheduler.h"
#include "tests/emulated_cuda/status.h"

namespace liquid::emulated {
namespace {

std::string Describe(const ScheduledThread& thread) {
  const uint3 block = RunningBlock().index;
  char text[160];
  snprintf(text, sizeof text, "block (%u,%u,%u) thread (%u,%u,%u) warp %u lane %u", block.x,
           block.y, block.z, thread.index.x, thread.index.y, thread.index.z, thread.linear / 32,
           thread.lane);
  return text;
}

// Kernels in anonymous namespaces have no dynamic symbol: "file+offset" is for addr2line -f -C -e.
std::string KernelName() {
  const auto* function = static_cast<const char*>(RunningGrid().function);
  Dl_info info;
  if (function == nullptr || dladdr(function, &info) == 0) return "?";
  if (info.dli_sname == nullptr || info.dli_saddr != function) {
    char offset[32];
    snprintf(offset, sizeof offset, "+%#tx", function - static_cast<const char*>(info.dli_fbase));
    return std::string(info.dli_fname) + offset;
  }
  int status = 0;
  const std::unique_ptr<char, decltype(&free)> name(
      abi::__cxa_demangle(info.dli_sname, nullptr, nullptr, &status), free);
  return status == 0 ? name.get() : info.dli_sname;
}

}  // namespace

std::string DescribeDeadlock() {
  constexpr int kMaxLines = 8;
  std::string text = "deadlock: no thread of the block can run\n";
  std::string last;
  int num_lines = 0;
  for (int i = 0; i < RunningBlock().num_threads; ++i) {
    const ScheduledThread& thread = ThreadOfBlock(i);
    if (thread.state == State::kReturned) continue;
    std::string line = std::string(thread.what) + " at " + Text(thread.site);
    if (thread.state == State::kInWarpCollective) {
      char mask[32];
      snprintf(mask, sizeof mask, " mask %08x", thread.mask);
      line += mask;
    }
    if (line == std::exchange(last, line) || ++num_lines > kMaxLines) continue;
    text += "    " + Describe(thread) + " waits in " + line + "\n";
  }
  return text + "    threads that have returned: " + std::to_string(RunningBlock().num_returned);
}

void Fault(const std::string& what) {
  RequireCudaThread(what.c_str());
  LeaveBlock("kernel " + KernelName() + ", " + Describe(RunningThread()) + ":\n  " + what);
}

void ReportFault(const std::string& text) {
  fprintf(stderr, "emulated CUDA: FAULT in %s\n", text.c_str());
  if (GetOptions().abort) abort();
  MakeSticky(cudaErrorLaunchFailure);
}

}  // namespace liquid::emulated
