// Device memory: ordinary memory between guard pages, which the host may not touch. All functions
// need RuntimeLock() (streams.h).
#ifndef LIQUID_TESTS_EMULATED_CUDA_DEVICE_MEMORY_H_
#define LIQUID_TESTS_EMULATED_CUDA_DEVICE_MEMORY_H_

#include <cuda_runtime_api.h>

#include <cstddef>
#include <string>

namespace liquid::emulated {

// Filled with 0xFF, which is NaN in every format of floats. The end touches a guard page or, if
// `bytes` is no multiple of 256, a canary before it.
cudaError_t Allocate(void** result, size_t bytes, int device);
// cudaErrorInvalidValue for what Allocate has not given. The addresses are not used again for long.
cudaError_t Deallocate(void* address);
size_t BytesInUse(int device);

struct Allocation {
  char* begin = nullptr;
  size_t bytes = 0;
  int device = 0;
  char* mapping = nullptr;  // with the guard pages; null under AddressSanitizer, which has its own
  size_t mapping_bytes = 0;
};
// The live one that contains `address`, or null.
const Allocation* FindAllocation(const void* address);
// Whether the range is wholly within one live allocation. An empty one always is.
bool IsDeviceRange(const void* begin, size_t bytes);
bool IsEndOfAllocation(const void* address);

// Page-locked host memory, which a GPU can read.
cudaError_t AllocatePinned(void** result, size_t bytes);
cudaError_t DeallocatePinned(void* address);
bool IsPinned(const void* address);

// While one exists, device memory is accessible: only work of the device holds one.
class DeviceMemoryWindow {
 public:
  DeviceMemoryWindow();
  ~DeviceMemoryWindow();
  DeviceMemoryWindow(const DeviceMemoryWindow&) = delete;
  DeviceMemoryWindow& operator=(const DeviceMemoryWindow&) = delete;
};

// For a signal handler: whether a fault at `address` only means that work of the device has come to
// an allocation which is still closed. It is open then, until the window closes.
bool OpenInWindow(const void* address);

// Reports writes behind allocations. REQUIRES: a window.
void CheckCanaries();

// "3 bytes past the end of a 40 byte device allocation". For a signal handler: takes no lock.
std::string DescribeAddress(const void* address);

// From now on, an access out of bounds is reported, and not only the end of the process.
void CatchAddressFaults();

}  // namespace liquid::emulated

#endif  // LIQUID_TESTS_EMULATED_CUDA_DEVICE_MEMORY_H_
