// The shape of a launch in which each thread strides over the elements.
#ifndef LIQUID_KERNELS_CUDA_DEVICE_GRID_CUH_
#define LIQUID_KERNELS_CUDA_DEVICE_GRID_CUH_

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>

namespace liquid::cuda {

inline constexpr int kThreads = 256;

// Enough blocks to fill any GPU.
inline dim3 GridFor(int64_t threads) {
  constexpr int64_t kMostBlocks = 16384;
  const int64_t blocks = (threads + kThreads - 1) / kThreads;
  return dim3(static_cast<unsigned>(std::clamp<int64_t>(blocks, 1, kMostBlocks)));
}

__device__ __forceinline__ int64_t FirstItem() {
  return static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
}
__device__ __forceinline__ int64_t ItemStride() {
  return static_cast<int64_t>(gridDim.x) * kThreads;
}

}  // namespace liquid::cuda

#endif  // LIQUID_KERNELS_CUDA_DEVICE_GRID_CUH_
