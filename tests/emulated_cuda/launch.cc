// Launches of kernels, with the checks that a GPU makes and some that it does not.
#include <cstring>
#include <string>
#include <unordered_map>
#include <utility>

#include "tests/emulated_cuda/device_memory.h"
#include "tests/emulated_cuda/fault.h"
#include "tests/emulated_cuda/grid.h"
#include "tests/emulated_cuda/options.h"
#include "tests/emulated_cuda/status.h"
#include "tests/emulated_cuda/streams.h"

namespace liquid::emulated {
namespace {

constexpr int kDynamicSharedWithoutAsking = 48 << 10;
constexpr unsigned kMaxThreadsPerBlock = 1024;

// By kernel, what cudaFuncSetAttribute allows.
std::unordered_map<const void*, int>& MaxDynamicShared() {
  static auto* const by_kernel = new std::unordered_map<const void*, int>;
  return *by_kernel;
}

bool IsLegal(const dim3& grid, const dim3& block) {
  constexpr unsigned kMaxGridYZ = 65535;
  constexpr unsigned kMaxGridX = 0x7fffffff;
  constexpr unsigned kMaxBlockZ = 64;
  const uint64_t threads = uint64_t{block.x} * block.y * block.z;
  return grid.x > 0 && grid.x <= kMaxGridX && grid.y > 0 && grid.y <= kMaxGridYZ && grid.z > 0 &&
         grid.z <= kMaxGridYZ && threads > 0 && threads <= kMaxThreadsPerBlock &&
         block.z <= kMaxBlockZ;
}

bool HasClusterOrCooperation(const cudaLaunchConfig_t& config) {
  for (unsigned i = 0; i < config.numAttrs; ++i) {
    const cudaLaunchAttribute& attribute = config.attrs[i];
    const auto& cluster = attribute.val.clusterDim;
    if (attribute.id == cudaLaunchAttributeClusterDimension &&
        cluster.x * cluster.y * cluster.z > 1) {
      return true;
    }
    if (attribute.id == cudaLaunchAttributeCooperative && attribute.val.cooperative != 0) {
      return true;
    }
  }
  return false;
}

}  // namespace

void CheckPointerArgument(const void* pointer, const void* function) {
  const RuntimeGuard guard(RuntimeLock());
  if (pointer == nullptr || FindAllocation(pointer) != nullptr || IsPinned(pointer) ||
      IsEndOfAllocation(pointer)) {
    return;
  }
  const std::string what = DescribeAddress(pointer);
  char addresses[80];
  snprintf(addresses, sizeof addresses, "launch of kernel %p: argument %p is ", function, pointer);
  ReportFault(addresses + (what == "not device memory" ? "a host pointer" : what));
}

cudaError_t EnqueueKernel(const cudaLaunchConfig_t* config, const void* function,
                          std::function<void()> kernel) {
  const RuntimeGuard guard(RuntimeLock());
  CatchAddressFaults();
  if (StickyError() != cudaSuccess) return Remember(StickyError());
  if (!IsLegal(config->gridDim, config->blockDim)) return Remember(cudaErrorInvalidConfiguration);
  if (HasClusterOrCooperation(*config)) return Remember(cudaErrorNotSupported);
  const auto asked = MaxDynamicShared().find(function);
  const int allowed =
      asked == MaxDynamicShared().end() ? kDynamicSharedWithoutAsking : asked->second;
  if (config->dynamicSmemBytes > static_cast<size_t>(allowed)) {
    return Remember(cudaErrorInvalidValue);
  }
  const GridShape shape{config->gridDim, config->blockDim, config->dynamicSmemBytes, function};
  return Remember(Enqueue(config->stream, "kernel", [shape, kernel = std::move(kernel)] {
    RunGrid(shape, kernel);
    CheckCanaries();
    return true;
  }));
}

}  // namespace liquid::emulated

using namespace liquid::emulated;

extern "C" {

cudaError_t cudaFuncSetAttribute(const void* function, cudaFuncAttribute attribute, int value) {
  const RuntimeGuard guard(RuntimeLock());
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) return cudaSuccess;
  if (value < 0 || static_cast<uint64_t>(value) > GetOptions().SharedBytesPerBlock()) {
    return Remember(cudaErrorInvalidValue);
  }
  MaxDynamicShared()[function] = value;
  return cudaSuccess;
}

cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void*) {
  memset(attributes, 0, sizeof *attributes);
  attributes->maxThreadsPerBlock = kMaxThreadsPerBlock;
  return cudaSuccess;
}

// Knows neither registers nor static shared memory.
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* num_blocks, const void*,
                                                          int block_threads,
                                                          size_t dynamic_shared_bytes) {
  constexpr size_t kMaxThreads = 2048;
  constexpr size_t kMaxBlocks = 32;
  constexpr size_t kSharedBytesOfTheSystem = 1024;  // of each block
  const size_t by_shared = GetOptions().SharedBytesPerMultiprocessor() /
                           (dynamic_shared_bytes + kSharedBytesOfTheSystem);
  *num_blocks = static_cast<int>(
      std::min({kMaxBlocks, kMaxThreads / static_cast<size_t>(block_threads), by_shared}));
  return cudaSuccess;
}

}  // extern "C"
