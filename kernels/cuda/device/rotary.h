#ifndef LIQUID_KERNELS_CUDA_DEVICE_ROTARY_H_
#define LIQUID_KERNELS_CUDA_DEVICE_ROTARY_H_

#include <cstdint>

#include "kernels/cuda/device/element.h"

namespace liquid::cuda {

// out [tokens,heads,width] = x, turned by the angles of positions [tokens], or back if `inverse`;
// cos, sin [num_positions,width/2]. width is even; `out` may be `x`. A position outside the tables
// stops the kernel: the stream fails.
cudaError_t Rotary(cudaStream_t stream, void* out, const void* x, const float* cos,
                   const float* sin, const int32_t* positions, Element element, int64_t tokens,
                   int64_t heads, int64_t width, int64_t num_positions, bool inverse);

}  // namespace liquid::cuda

#endif  // LIQUID_KERNELS_CUDA_DEVICE_ROTARY_H_
