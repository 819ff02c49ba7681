#include "kernels/cpu/simd/functions.h"

namespace liquid::LIQUID_ISA {
namespace {

template <typename T>
LoopsOver<T> MakeLoopsOver() {
  LoopsOver<T> loops = {};
  SetElementwise(loops);
  SetConvolutions(loops);
  SetActivations(loops);
  SetNorms(loops);
  SetAttention(loops);
  return loops;
}

}  // namespace

const SimdLoops& Loops() {
  static const SimdLoops kLoops = {
      .isa = LIQUID_ISA_NAME,
      .over_f32 = MakeLoopsOver<float>(),
      .over_bf16 = MakeLoopsOver<BFloat16>(),
      .transpose = Transpose,
      .softmax_terms = SoftmaxTerms,
      .soft_cap = SoftCap,
      .capped_gradients = CappedGradients,
      .accumulate_fixed = AccumulateFixed,
      .accumulate_float = AccumulateFloat,
      .sum_of_squares_fixed = SumOfSquaresFixed,
      .sum_of_squares_float = SumOfSquaresFloat,
      .adamw_fixed = AdamWFixed,
      .adamw_float = AdamWFloat,
  };
  return kLoops;
}

}  // namespace liquid::LIQUID_ISA
