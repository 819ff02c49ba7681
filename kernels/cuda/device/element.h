// The words between kernels/cuda/*.cc, which is host code, and kernels/cuda/device/*.cu, which is
// all that nvcc compiles: plain pointers and sizes, so that the library of kernels stands alone.
#ifndef LIQUID_KERNELS_CUDA_DEVICE_ELEMENT_H_
#define LIQUID_KERNELS_CUDA_DEVICE_ELEMENT_H_

#include <cuda_runtime_api.h>

#include <cstdint>

namespace liquid::cuda {

// Of activations and weights. Launchers take pointers to them as void*.
enum class Element { kF32, kBF16 };

// As in kernels/ops.h.
inline constexpr int32_t kIgnoredTarget = -100;
inline constexpr int32_t kElsewhere = -1;
inline constexpr int kMaxTaps = 8;

}  // namespace liquid::cuda

#endif  // LIQUID_KERNELS_CUDA_DEVICE_ELEMENT_H_
