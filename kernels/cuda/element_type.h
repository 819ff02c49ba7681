// From the dtype of tensors to the word that kernels have for it, for operations that take
// activations and weights as kF32 or as kBF16.
#ifndef LIQUID_KERNELS_CUDA_ELEMENT_TYPE_H_
#define LIQUID_KERNELS_CUDA_ELEMENT_TYPE_H_

#include "base/check.h"
#include "kernels/cuda/device/element.h"
#include "tensor/tensor.h"

namespace liquid {

// That of all these tensors: kF32 or kBF16, and the same.
template <typename... View>
cuda::Element ElementOf(const ConstTensorView& first, const View&... others) {
  LIQUID_CHECK(first.dtype == DType::kF32 || first.dtype == DType::kBF16, "dtype ",
               static_cast<int>(first.dtype));
  LIQUID_CHECK(((others.dtype == first.dtype) && ...));
  return first.dtype == DType::kBF16 ? cuda::Element::kBF16 : cuda::Element::kF32;
}

}  // namespace liquid

#endif  // LIQUID_KERNELS_CUDA_ELEMENT_TYPE_H_
