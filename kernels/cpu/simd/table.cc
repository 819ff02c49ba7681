#include "kernels/cpu/simd/functions.h"

namespace liquid::LIQUID_ISA {

const SimdLoops& Loops() {
  static constexpr SimdLoops kLoops = {
      .isa = LIQUID_ISA_NAME,
      .add = Add,
      .scale = Scale,
      .rotate = Rotate,
      .activate = Activate,
      .activate_backward = ActivateBackward,
      .gated_activate = GatedActivate,
      .gated_activate_backward = GatedActivateBackward,
      .rms_norm = RmsNorm,
      .rms_norm_backward = RmsNormBackward,
      .layer_norm = LayerNorm,
      .layer_norm_backward = LayerNormBackward,
      .sum_rows = SumRows,
      .transpose = Transpose,
      .softmax_terms = SoftmaxTerms,
      .attention = Attention,
      .attention_backward = AttentionBackward,
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
