#include "base/check.h"
#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/products.h"

namespace liquid {

void CudaOps::MatMul(TensorView out, ConstTensorView a, ConstTensorView b, MatMulOptions options) {
  LIQUID_CHECK(out.shape.rank() == 2 && a.shape.rank() == 2 && b.shape.rank() == 2);
  const int64_t k = a.shape[options.transpose_a ? 0 : 1];
  LIQUID_CHECK(a.shape[options.transpose_a ? 1 : 0] == out.shape[0], a.shape.ToString());
  LIQUID_CHECK(b.shape[options.transpose_b ? 1 : 0] == k, b.shape.ToString());
  LIQUID_CHECK(b.shape[options.transpose_b ? 0 : 1] == out.shape[1], b.shape.ToString());
  LIQUID_CHECK(a.dtype == b.dtype);
  if (out.NumElements() == 0) return;
  if (k == 0) {
    if (!options.accumulate) Fill(out, 0.0f);
    return;
  }
  products_->Multiply(out, a, b, options);
}

}  // namespace liquid
