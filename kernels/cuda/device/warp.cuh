// Sums and maxima over a warp or a block, in an order that the shape fixes.
#ifndef LIQUID_KERNELS_CUDA_DEVICE_WARP_CUH_
#define LIQUID_KERNELS_CUDA_DEVICE_WARP_CUH_

#include <cuda_runtime.h>

namespace liquid::cuda {

inline constexpr unsigned kAllLanes = 0xffffffffu;
inline constexpr int kWarp = 32;

// Known to every lane.
template <typename T>
__device__ __forceinline__ T WarpSum(T value) {
#pragma unroll
  for (int distance = kWarp / 2; distance > 0; distance /= 2) {
    value += __shfl_xor_sync(kAllLanes, value, distance);
  }
  return value;
}
__device__ __forceinline__ float WarpMax(float value) {
#pragma unroll
  for (int distance = kWarp / 2; distance > 0; distance /= 2) {
    value = fmaxf(value, __shfl_xor_sync(kAllLanes, value, distance));
  }
  return value;
}

// Known to every thread of a block of kThreads. `scratch` [kThreads / 32], in shared memory.
template <int kThreads, typename T>
__device__ __forceinline__ T BlockSum(T value, T* scratch) {
  value = WarpSum(value);
  __syncthreads();  // an earlier call's sum has been read
  if (threadIdx.x % kWarp == 0) scratch[threadIdx.x / kWarp] = value;
  __syncthreads();
  return WarpSum(threadIdx.x % kWarp < kThreads / kWarp ? scratch[threadIdx.x % kWarp] : T(0));
}

}  // namespace liquid::cuda

#endif  // LIQUID_KERNELS_CUDA_DEVICE_WARP_CUH_
