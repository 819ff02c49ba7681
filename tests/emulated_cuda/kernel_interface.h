// What a compiled kernel asks of the emulation. Included by kernels, by way of
// include/cuda_runtime.h, so it stays small.
#ifndef LIQUID_TESTS_EMULATED_CUDA_KERNEL_INTERFACE_H_
#define LIQUID_TESTS_EMULATED_CUDA_KERNEL_INTERFACE_H_

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

namespace liquid::emulated {

// Where in the source of a kernel a call is.
struct Site {
  const char* file = "";
  unsigned line = 0;

  static constexpr Site Here(const char* file = __builtin_FILE(),
                             unsigned line = __builtin_LINE()) {
    return {file, line};
  }
};

// Copies of cp.async that have been issued and not waited for.
struct AsyncCopies {
  static constexpr int kMax = 256;
  struct Copy {
    uint4* to;
    const uint4* from;
    unsigned group;
  };

  Copy copies[kMax];
  int count = 0;
  unsigned group = 0;  // that the next copy belongs to
};

// The CUDA thread that runs. The scheduler changes `current` at every switch; null on the host.
struct CudaThread {
  uint3 index{};
  unsigned linear = 0;  // index within the block
  unsigned lane = 0;
  AsyncCopies async;
};
extern CudaThread* current;

// Ends the grid with a report that names kernel, block and thread.
[[noreturn]] void Fault(const std::string& what);

// __syncthreads and its votes: the number of threads of the block whose predicate holds.
int BlockBarrier(bool predicate, Site site);

// The last lane of `mask` to arrive runs `resolve` once, on the payloads of all; payloads[lane] is
// null for a lane that is not in the mask. `what` names the operation, and must be the same in all
// lanes. `orders_memory` is true of __syncwarp alone: a shuffle is no fence.
using Resolve = void (*)(void* const* payloads, uint32_t mask);
void WarpCollective(uint32_t mask, const char* what, void* payload, Resolve resolve,
                    bool orders_memory, Site site);

// __threadfence and its relatives.
void MemoryFence();

// Payloads, and who resolves them.
struct Shuffle {
  uint64_t in = 0;
  uint64_t out = 0;
  unsigned source_lane = 0;
};
void ResolveShuffle(void* const* payloads, uint32_t mask);
struct Ballot {
  bool in = false;
  uint32_t out = 0;
};
void ResolveBallot(void* const* payloads, uint32_t mask);
struct Match {
  uint64_t in = 0;
  uint32_t out = 0;
};
void ResolveMatch(void* const* payloads, uint32_t mask);
// mma.m16n8k16 of bf16, registers as in kernels/cuda/device/ptx.cuh.
struct Mma {
  float* d;
  const unsigned* a;
  const unsigned* b;
};
void ResolveMma(void* const* payloads, uint32_t mask);

// A shared library with kernels makes one of these, with its array of dynamic shared memory.
// `__shared__` is `thread_local`, so all static shared arrays of the library are in its TLS segment
// and are found there.
struct KernelModule {
  KernelModule(void* (*dynamic_shared)(), size_t dynamic_shared_bytes);
};

// Queues a kernel that is called once for every CUDA thread. `function` identifies it.
cudaError_t EnqueueKernel(const cudaLaunchConfig_t* config, const void* function,
                          std::function<void()> kernel);
// A pointer argument must be null, device memory or pinned memory: a GPU cannot read the heap.
void CheckPointerArgument(const void* pointer, const void* function);

}  // namespace liquid::emulated

#endif  // LIQUID_TESTS_EMULATED_CUDA_KERNEL_INTERFACE_H_
