#include "kernels/cuda/device/norm.h"

#include "base/check.h"
#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/element_type.h"

namespace liquid {

void CudaOps::RmsNorm(TensorView out, TensorView rstd, ConstTensorView x, ConstTensorView weight,
                      float eps, float offset) {
  const int64_t width = x.shape.back();
  LIQUID_CHECK(out.NumElements() == x.NumElements() && weight.NumElements() == width &&
               rstd.NumElements() == x.NumRows());
  Latch(cuda::RmsNorm(stream_.native(), out.data, rstd.f32(), x.data, weight.data,
                      ElementOf(x, weight, out), x.NumRows(), width, eps, offset),
        "RmsNorm");
}

void CudaOps::RmsNormBackward(TensorView dx, TensorView dweight, ConstTensorView dout,
                              ConstTensorView x, ConstTensorView weight, ConstTensorView rstd,
                              float offset) {
  const int64_t width = x.shape.back();
  const int64_t rows = x.NumRows();
  LIQUID_CHECK(dx.NumElements() == x.NumElements() && dout.NumElements() == x.NumElements() &&
               weight.NumElements() == width && dweight.NumElements() == width &&
               rstd.NumElements() == rows);
  const PooledTensor chunks = scratch_.AllocateF32({cuda::NormChunks(rows, width), width});
  Latch(cuda::RmsNormBackward(stream_.native(), dx.data, dweight.f32(), chunks.view().f32(),
                              dout.data, x.data, weight.data, rstd.f32(),
                              ElementOf(x, weight, dout, dx), rows, width, offset),
        "RmsNormBackward");
}

void CudaOps::LayerNorm(TensorView out, TensorView mean, TensorView rstd, ConstTensorView x,
                        ConstTensorView weight, ConstTensorView bias, float eps) {
  const int64_t width = x.shape.back();
  LIQUID_CHECK(out.NumElements() == x.NumElements() && weight.NumElements() == width &&
               bias.NumElements() == width && rstd.NumElements() == x.NumRows() &&
               mean.NumElements() == x.NumRows());
  Latch(cuda::LayerNorm(stream_.native(), out.data, mean.f32(), rstd.f32(), x.data, weight.data,
                        bias.data, ElementOf(x, weight, bias, out), x.NumRows(), width, eps),
        "LayerNorm");
}

void CudaOps::LayerNormBackward(TensorView dx, TensorView dweight, TensorView dbias,
                                ConstTensorView dout, ConstTensorView x, ConstTensorView weight,
                                ConstTensorView mean, ConstTensorView rstd) {
  const int64_t width = x.shape.back();
  const int64_t rows = x.NumRows();
  LIQUID_CHECK(dx.NumElements() == x.NumElements() && dout.NumElements() == x.NumElements() &&
               weight.NumElements() == width && dweight.NumElements() == width &&
               dbias.NumElements() == width && rstd.NumElements() == rows &&
               mean.NumElements() == rows);
  const PooledTensor chunks = scratch_.AllocateF32({2, cuda::NormChunks(rows, width), width});
  Latch(cuda::LayerNormBackward(stream_.native(), dx.data, dweight.f32(), dbias.f32(),
                                chunks.view().f32(), dout.data, x.data, weight.data, mean.f32(),
                                rstd.f32(), ElementOf(x, weight, dout, dx), rows, width),
        "LayerNormBackward");
}

}  // namespace liquid
