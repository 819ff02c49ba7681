// The templates of cuda_runtime.h that take a kernel.
#ifndef LIQUID_TESTS_EMULATED_CUDA_TYPED_LAUNCH_H_
#define LIQUID_TESTS_EMULATED_CUDA_TYPED_LAUNCH_H_

#include <cuda_runtime_api.h>

#include <tuple>
#include <type_traits>
#include <utility>

#include "tests/emulated_cuda/kernel_interface.h"

namespace liquid::emulated {

template <typename T>
void CheckArgument(const T& argument, const void* function) {
  if constexpr (std::is_pointer_v<T> && !std::is_function_v<std::remove_pointer_t<T>>) {
    CheckPointerArgument(reinterpret_cast<const void*>(argument), function);
  }
}

}  // namespace liquid::emulated

// The arguments are copied now, as a real launch does, and once more for every CUDA thread.
template <typename... Parameters, typename... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                               Arguments&&... arguments) {
  const void* function = reinterpret_cast<const void*>(kernel);
  const std::tuple<std::decay_t<Parameters>...> copies(std::forward<Arguments>(arguments)...);
  std::apply(
      [function](const auto&... copy) { (liquid::emulated::CheckArgument(copy, function), ...); },
      copies);
  return liquid::emulated::EnqueueKernel(config, function,
                                         [kernel, copies] { std::apply(kernel, copies); });
}

template <typename T>
cudaError_t cudaFuncSetAttribute(T* kernel, cudaFuncAttribute attribute, int value) {
  return ::cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), attribute, value);
}
template <typename T>
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, T* kernel) {
  return ::cudaFuncGetAttributes(attributes, reinterpret_cast<const void*>(kernel));
}
template <typename T>
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* num_blocks, T* kernel,
                                                          int block_threads,
                                                          size_t dynamic_shared_bytes) {
  return ::cudaOccupancyMaxActiveBlocksPerMultiprocessor(
      num_blocks, reinterpret_cast<const void*>(kernel), block_threads, dynamic_shared_bytes);
}

#endif  // LIQUID_TESTS_EMULATED_CUDA_TYPED_LAUNCH_H_
