// The one way to launch a kernel, and the one array of dynamic shared memory.
#ifndef LIQUID_KERNELS_CUDA_DEVICE_LAUNCH_CUH_
#define LIQUID_KERNELS_CUDA_DEVICE_LAUNCH_CUH_

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "kernels/cuda/device/element.h"

namespace liquid::cuda {

extern __shared__ __align__(128) unsigned char dynamic_shared[];

// Above 48 KiB a kernel must be asked first; it is each time, which costs a microsecond.
template <typename... Parameters, typename... Arguments>
cudaError_t Launch(cudaStream_t stream, dim3 grid, int threads, size_t shared_bytes,
                   void (*kernel)(Parameters...), Arguments... arguments) {
  constexpr size_t kAlwaysAllowed = 48 << 10;
  if (shared_bytes > kAlwaysAllowed) {
    const cudaError_t code = cudaFuncSetAttribute(
        kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared_bytes));
    if (code != cudaSuccess) return code;
  }
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = dim3(static_cast<unsigned>(threads));
  config.dynamicSmemBytes = shared_bytes;
  config.stream = stream;
  return cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...);
}

}  // namespace liquid::cuda

#endif  // LIQUID_KERNELS_CUDA_DEVICE_LAUNCH_CUH_
