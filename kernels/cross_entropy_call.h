// The operands of both forms of Ops::LinearCrossEntropy, for the backends.
#ifndef LIQUID_KERNELS_CROSS_ENTROPY_CALL_H_
#define LIQUID_KERNELS_CROSS_ENTROPY_CALL_H_

#include <cstdint>

#include "kernels/ops.h"
#include "tensor/tensor.h"

namespace liquid {

// As there; what a form does not have is null or without data. dx has data if there are gradients.
struct CrossEntropyCall {
  TensorView nll = {};
  TensorView dx = {};
  TensorView dweight = {};
  int32_t* correct = nullptr;
  ConstTensorView x = {};
  ConstTensorView weight = {};
  const int32_t* targets = nullptr;
  const float* token_weights = nullptr;
  float cap = 0;
  const float* gradient_scale = nullptr;
  const VocabularyPart* part = nullptr;
};

}  // namespace liquid

#endif  // LIQUID_KERNELS_CROSS_ENTROPY_CALL_H_
