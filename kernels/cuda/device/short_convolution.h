// The gated short convolution of kernels/ops.h. Tensors are of `element` but where they are floats;
// taps <= kMaxTaps.
#ifndef LIQUID_KERNELS_CUDA_DEVICE_SHORT_CONVOLUTION_H_
#define LIQUID_KERNELS_CUDA_DEVICE_SHORT_CONVOLUTION_H_

#include <cstdint>

#include "kernels/cuda/device/element.h"
#include "kernels/cuda/device/workspace.h"

namespace liquid::cuda {

struct ConvolutionShape {
  int64_t tokens;
  int64_t width;
  int64_t taps;
};

// out [tokens,width], in [tokens,3*width], weight [width,taps], positions [tokens].
cudaError_t ShortConvolution(cudaStream_t stream, void* out, const void* in, const void* weight,
                             const int32_t* positions, Element element,
                             const ConvolutionShape& shape);

// din, shaped as `in`; dweight [width,taps] floats +=; workspace
// [NumConvolutionChunks(tokens),taps,width] floats.
cudaError_t ShortConvolutionBackward(cudaStream_t stream, void* din, float* dweight,
                                     float* workspace, const void* dout, const void* in,
                                     const void* weight, const int32_t* positions, Element element,
                                     const ConvolutionShape& shape);

}  // namespace liquid::cuda

#endif  // LIQUID_KERNELS_CUDA_DEVICE_SHORT_CONVOLUTION_H_
