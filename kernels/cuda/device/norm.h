// Norms over the rows of [rows,width] matrices (kernels/ops.h says what they are). Activations and
// weights are of `element`; rstd, mean [rows] and gradients of weights are float. Pointers at 16
// bytes and widths that 8 divides are fast, others right. A row is summed in an order that its
// width fixes, sums over rows in one that the shape fixes.
#ifndef LIQUID_KERNELS_CUDA_DEVICE_NORM_H_
#define LIQUID_KERNELS_CUDA_DEVICE_NORM_H_

#include <cstdint>

#include "kernels/cuda/device/element.h"
#include "kernels/cuda/device/workspace.h"

namespace liquid::cuda {

// `out` may be `x`.
cudaError_t RmsNorm(cudaStream_t stream, void* out, float* rstd, const void* x, const void* weight,
                    Element element, int64_t rows, int64_t width, float eps, float offset);
cudaError_t LayerNorm(cudaStream_t stream, void* out, float* mean, float* rstd, const void* x,
                      const void* weight, const void* bias, Element element, int64_t rows,
                      int64_t width, float eps);

// dx =, dweight +=, dbias +=. `chunks` is workspace: [NormChunks(rows, width),width] for an
// RmsNorm, two of them for a LayerNorm. dx may be dout or x.
cudaError_t RmsNormBackward(cudaStream_t stream, void* dx, float* dweight, float* chunks,
                            const void* dout, const void* x, const void* weight, const float* rstd,
                            Element element, int64_t rows, int64_t width, float offset);
cudaError_t LayerNormBackward(cudaStream_t stream, void* dx, float* dweight, float* dbias,
                              float* chunks, const void* dout, const void* x, const void* weight,
                              const float* mean, const float* rstd, Element element, int64_t rows,
                              int64_t width);

}  // namespace liquid::cuda

#endif  // LIQUID_KERNELS_CUDA_DEVICE_NORM_H_
