#include "kernels/cuda/device/short_convolution.h"

#include "base/check.h"
#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/element_type.h"

namespace liquid {
namespace {

static_assert(cuda::kMaxTaps == kMaxTaps);

cuda::ConvolutionShape ShapeOf(const ConstTensorView& in, const ConstTensorView& weight) {
  LIQUID_CHECK(weight.shape.rank() == 2 && in.shape.back() == 3 * weight.shape[0]);
  LIQUID_CHECK(weight.shape[1] >= 1 && weight.shape[1] <= kMaxTaps, weight.shape.ToString());
  return {.tokens = in.NumRows(), .width = weight.shape[0], .taps = weight.shape[1]};
}

}  // namespace

void CudaOps::ShortConvolution(TensorView out, ConstTensorView in, ConstTensorView weight,
                               const int32_t* positions) {
  LIQUID_CHECK(3 * out.NumElements() == in.NumElements());
  Latch(cuda::ShortConvolution(stream_.native(), out.data, in.data, weight.data, positions,
                               ElementOf(in, weight, out), ShapeOf(in, weight)),
        "ShortConvolution");
}

void CudaOps::ShortConvolutionBackward(TensorView din, TensorView dweight, ConstTensorView dout,
                                       ConstTensorView in, ConstTensorView weight,
                                       const int32_t* positions) {
  const cuda::ConvolutionShape shape = ShapeOf(in, weight);
  LIQUID_CHECK(din.NumElements() == in.NumElements() &&
               3 * dout.NumElements() == in.NumElements() &&
               dweight.NumElements() == weight.NumElements());
  const PooledTensor chunks =
      scratch_.AllocateF32({cuda::NumConvolutionChunks(shape.tokens), shape.taps, shape.width});
  Latch(cuda::ShortConvolutionBackward(stream_.native(), din.data, dweight.f32(),
                                       chunks.view().f32(), dout.data, in.data, weight.data,
                                       positions, ElementOf(in, weight, dout, din), shape),
        "ShortConvolutionBackward");
}

}  // namespace liquid
