// Elementwise activations of `count` elements (kernels/ops.h says what they are). Outputs may be
// inputs. `gelu`: kGeluTanh instead of kSilu. All pointers are aligned to their elements at least.
#ifndef LIQUID_KERNELS_CUDA_DEVICE_ACTIVATION_H_
#define LIQUID_KERNELS_CUDA_DEVICE_ACTIVATION_H_

#include <cstdint>

#include "kernels/cuda/device/element.h"

namespace liquid::cuda {

cudaError_t Activate(cudaStream_t stream, void* out, const void* x, Element element, int64_t count,
                     bool gelu);
cudaError_t ActivateBackward(cudaStream_t stream, void* dx, const void* dout, const void* x,
                             Element element, int64_t count, bool gelu);
cudaError_t GatedActivate(cudaStream_t stream, void* out, const void* gate, const void* up,
                          Element element, int64_t count, bool gelu);
cudaError_t GatedActivateBackward(cudaStream_t stream, void* dgate, void* dup, const void* dout,
                                  const void* gate, const void* up, Element element, int64_t count,
                                  bool gelu);

}  // namespace liquid::cuda

#endif  // LIQUID_KERNELS_CUDA_DEVICE_ACTIVATION_H_
