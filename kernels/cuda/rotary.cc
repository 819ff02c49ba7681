#include "kernels/cuda/device/rotary.h"

#include "base/check.h"
#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/element_type.h"

namespace liquid {

void CudaOps::Rotary(TensorView out, ConstTensorView x, ConstTensorView cos, ConstTensorView sin,
                     const int32_t* positions, bool inverse) {
  LIQUID_CHECK(x.shape.rank() >= 2 && out.NumElements() == x.NumElements());
  const int64_t width = x.shape.back();
  const int64_t heads = x.shape[x.shape.rank() - 2];
  LIQUID_CHECK(width % 2 == 0 && cos.shape.back() == width / 2 && sin.shape == cos.shape);
  Latch(cuda::Rotary(stream_.native(), out.data, x.data, cos.f32(), sin.f32(), positions,
                     ElementOf(x, out), x.NumElements() / (heads * width), heads, width,
                     cos.shape[0], inverse),
        "Rotary");
}

}  // namespace liquid
