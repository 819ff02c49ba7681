// Elementwise operations and sums over rows. Elements beyond 2^31 are fine. Pointers are aligned as
// their elements are; what is aligned to 16 bytes is read and written so.
#ifndef LIQUID_KERNELS_CUDA_DEVICE_ELEMENTWISE_H_
#define LIQUID_KERNELS_CUDA_DEVICE_ELEMENTWISE_H_

#include <cstdint>

#include "kernels/cuda/device/element.h"
#include "kernels/cuda/device/workspace.h"

namespace liquid::cuda {

cudaError_t Fill(cudaStream_t stream, Element element, void* out, float value, int64_t count);
// Between the two elements, either way.
cudaError_t Convert(cudaStream_t stream, Element to, void* out, const void* x, int64_t count);
// out [count] of floats = x, IEEE half precision.
cudaError_t ConvertHalf(cudaStream_t stream, float* out, const void* x, int64_t count);
// `out` may be an input.
cudaError_t Add(cudaStream_t stream, Element element, void* out, const void* a, const void* b,
                int64_t count);
cudaError_t Scale(cudaStream_t stream, Element element, void* out, const void* x, float factor,
                  int64_t count);
// factor [1], of `element` too.
cudaError_t ScaleBy(cudaStream_t stream, Element element, void* out, const void* x,
                    const void* factor, int64_t count);
// inout [rows,width] += bias [width].
cudaError_t AddBias(cudaStream_t stream, Element element, void* inout, const void* bias,
                    int64_t rows, int64_t width);

// Sums over rows in an order that the shape fixes: of runs of kSumRows rows, then over the runs.
// partial [NumSumRuns(rows),width] = the sums of runs of x [rows,width].
cudaError_t SumRuns(cudaStream_t stream, Element element, float* partial, const void* x,
                    int64_t rows, int64_t width);
// out [width] += the sum of partial [runs,width], first run first.
cudaError_t AddRuns(cudaStream_t stream, float* out, const float* partial, int64_t runs,
                    int64_t width);

}  // namespace liquid::cuda

#endif  // LIQUID_KERNELS_CUDA_DEVICE_ELEMENTWISE_H_
