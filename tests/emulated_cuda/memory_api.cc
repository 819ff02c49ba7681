// The CUDA calls that allocate, free, copy and fill memory.
#include <cstdio>
#include <cstring>
#include <memory>
#include <vector>

#include "tests/emulated_cuda/device_memory.h"
#include "tests/emulated_cuda/options.h"
#include "tests/emulated_cuda/status.h"
#include "tests/emulated_cuda/streams.h"

namespace liquid::emulated {
namespace {

// Whether the kind of a copy is true of its pointers, and the ranges exist.
bool IsLegal(const void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  const bool to_device = FindAllocation(to) != nullptr;
  const bool from_device = FindAllocation(from) != nullptr;
  const bool says_to = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
  const bool says_from = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  if (kind != cudaMemcpyDefault && (to_device != says_to || from_device != says_from)) {
    fprintf(stderr, "emulated CUDA: cudaMemcpy of kind %d to %s from %s\n", kind,
            to_device ? "device" : "host", from_device ? "device" : "host");
    return false;
  }
  if ((to_device && !IsDeviceRange(to, bytes)) || (from_device && !IsDeviceRange(from, bytes))) {
    fprintf(stderr, "emulated CUDA: cudaMemcpy of %zu bytes leaves its device allocation\n", bytes);
    return false;
  }
  return true;
}

// Pageable memory is staged: a source is read before the call returns, and a target is written.
cudaError_t Copy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream,
                 bool is_async) {
  std::unique_lock lock(RuntimeLock());
  CatchAddressFaults();
  if (StickyError() != cudaSuccess) return StickyError();
  if (bytes == 0) return cudaSuccess;
  if (!IsLegal(to, from, bytes, kind)) return cudaErrorInvalidValue;
  Stream* found = FindStream(stream);
  if (found == nullptr) return cudaErrorInvalidResourceHandle;
  const auto is_pageable = [](const void* address) {
    return FindAllocation(address) == nullptr && !IsPinned(address);
  };
  Step step = [to, from, bytes] {
    memmove(to, from, bytes);
    return true;
  };
  if (is_pageable(from)) {
    const auto* begin = static_cast<const char*>(from);
    const auto staged = std::make_shared<const std::vector<char>>(begin, begin + bytes);
    step = [to, staged, bytes] {
      memcpy(to, staged->data(), bytes);
      return true;
    };
  }
  const bool is_waited_for = found->capture == nullptr && (!is_async || is_pageable(to));
  const cudaError_t code = Push(found, {.what = "copy", .step = std::move(step)});
  if (code != cudaSuccess || !is_waited_for) return code;
  const uint64_t sequence = LastSequence();
  lock.unlock();
  return WorkUntil(
      [found, sequence] {
        return found->queue.empty() || found->queue.front().sequence > sequence;
      },
      found);
}

cudaError_t AllocateOnCurrentDevice(void** result, size_t bytes) {
  const RuntimeGuard guard(RuntimeLock());
  CatchAddressFaults();
  if (StickyError() != cudaSuccess) return StickyError();
  if (result == nullptr) return cudaErrorInvalidValue;
  return Allocate(result, bytes, CurrentDevice());
}

}  // namespace
}  // namespace liquid::emulated

using namespace liquid::emulated;

extern "C" {

cudaError_t cudaMalloc(void** result, size_t bytes) {
  return Remember(AllocateOnCurrentDevice(result, bytes));
}
// Is there at once. Memory that another stream still uses is never given, so this shows nothing of
// what the order of a pool may do.
cudaError_t cudaMallocAsync(void** result, size_t bytes, cudaStream_t) {
  return Remember(AllocateOnCurrentDevice(result, bytes));
}
cudaError_t cudaFreeAsync(void* address, cudaStream_t stream) {
  const RuntimeGuard guard(RuntimeLock());
  if (address != nullptr && FindAllocation(address) == nullptr) {
    return Remember(cudaErrorInvalidValue);
  }
  return Remember(Enqueue(stream, "free", [address] {
    Deallocate(address);
    return true;
  }));
}
cudaError_t cudaFree(void* address) {
  cudaDeviceSynchronize();
  const RuntimeGuard guard(RuntimeLock());
  return Remember(Deallocate(address));
}

cudaError_t cudaHostAlloc(void** result, size_t bytes, unsigned) {
  const RuntimeGuard guard(RuntimeLock());
  return Remember(AllocatePinned(result, bytes));
}
cudaError_t cudaMallocHost(void** result, size_t bytes) { return cudaHostAlloc(result, bytes, 0); }
cudaError_t cudaFreeHost(void* address) {
  cudaDeviceSynchronize();
  const RuntimeGuard guard(RuntimeLock());
  return Remember(DeallocatePinned(address));
}

cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  return Remember(Copy(to, from, bytes, kind, nullptr, /*is_async=*/false));
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  return Remember(Copy(to, from, bytes, kind, stream, /*is_async=*/true));
}
cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t stream) {
  const RuntimeGuard guard(RuntimeLock());
  if (!IsDeviceRange(to, bytes)) return Remember(cudaErrorInvalidValue);
  return Remember(Enqueue(stream, "memset", [to, value, bytes] {
    memset(to, value, bytes);
    return true;
  }));
}
cudaError_t cudaMemset(void* to, int value, size_t bytes) {
  return cudaMemsetAsync(to, value, bytes, nullptr);
}

cudaError_t cudaMemGetInfo(size_t* free_bytes, size_t* total_bytes) {
  const RuntimeGuard guard(RuntimeLock());
  *total_bytes = GetOptions().device_bytes;
  *free_bytes = *total_bytes - BytesInUse(CurrentDevice());
  return cudaSuccess;
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* address) {
  const RuntimeGuard guard(RuntimeLock());
  memset(attributes, 0, sizeof *attributes);
  const Allocation* allocation = FindAllocation(address);
  if (allocation != nullptr) {
    attributes->type = cudaMemoryTypeDevice;
    attributes->device = allocation->device;
    attributes->devicePointer = const_cast<void*>(address);
  } else {
    attributes->type = IsPinned(address) ? cudaMemoryTypeHost : cudaMemoryTypeUnregistered;
    attributes->device = CurrentDevice();
    attributes->hostPointer = const_cast<void*>(address);
  }
  return cudaSuccess;
}

}  // extern "C"
