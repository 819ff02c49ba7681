// Elements of any size, as many at a time as a thread loads or stores at once.
#ifndef LIQUID_KERNELS_CUDA_DEVICE_VECTOR_CUH_
#define LIQUID_KERNELS_CUDA_DEVICE_VECTOR_CUH_

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/cuda/device/eight.cuh"

namespace liquid::cuda {

template <typename T>
__device__ __forceinline__ T FromFloat(float x) {
  T rounded;
  Narrow(rounded, x);
  return rounded;
}

// One load or store of a thread.
template <typename T, int kCount = 16 / static_cast<int>(sizeof(T))>
struct alignas(kCount * sizeof(T)) Pack {
  static constexpr int kSize = kCount;
  T at[kCount];
};

inline bool IsAligned(const void* pointer, size_t bytes = 16) {
  return reinterpret_cast<uintptr_t>(pointer) % bytes == 0;
}

}  // namespace liquid::cuda

#endif  // LIQUID_KERNELS_CUDA_DEVICE_VECTOR_CUH_
