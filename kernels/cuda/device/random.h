// Dropout and noise: random numbers by the place of an element, as kernels/ops.h says
// (RandomPlace).
#ifndef LIQUID_KERNELS_CUDA_DEVICE_RANDOM_H_
#define LIQUID_KERNELS_CUDA_DEVICE_RANDOM_H_

#include <cstdint>

#include "kernels/cuda/device/element.h"

namespace liquid::cuda {

// A tensor of tokens, and where its elements are among all that there are.
struct RandomShape {
  int64_t tokens = 0;
  int64_t width = 0;
  int64_t tokens_per_row = 0;
  int64_t first_token = 0;
  int64_t first_channel = 0;
  uint32_t stream = 0;
};

// `out` may be x; row_keys [rows,2]. What has bits below `threshold` is 0, all else x times scale.
cudaError_t Dropout(cudaStream_t stream, Element element, void* out, const void* x,
                    const int32_t* row_keys, uint32_t threshold, float scale,
                    const RandomShape& shape);
// out = x + magnitude * u.
cudaError_t AddNoise(cudaStream_t stream, Element element, void* out, const void* x,
                     const int32_t* row_keys, float magnitude, const RandomShape& shape);

}  // namespace liquid::cuda

#endif  // LIQUID_KERNELS_CUDA_DEVICE_RANDOM_H_
