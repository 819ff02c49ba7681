#include "kernels/cpu/simd/functions.h"
#include "kernels/cpu/simd/vector.h"

namespace liquid::LIQUID_ISA {

float SoftmaxTerms(float* x, float* top, int64_t count) {
  const float first = x[0];
  F maxima = Set(first);
  ForVectors(count, [&](int64_t i, auto lanes) {
    // Absent lanes compare as x[0].
    maxima = Maximum(maxima, lanes.Load(x + i) + (first - lanes.Masked(first)));
  });
  const float shift = MaximumOfLanes(maxima);
  F sum = {};
  ForVectors(count, [&](int64_t i, auto lanes) {
    const F term = lanes.Masked(1.0f) * Exp(lanes.Load(x + i) - shift);
    lanes.Store(x + i, term);
    sum += term;
  });
  *top = shift;
  return SumOfLanes(sum);
}

}  // namespace liquid::LIQUID_ISA
