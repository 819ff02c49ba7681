#include "kernels/cpu/simd/functions.h"
#include "kernels/cpu/simd/vector.h"

namespace liquid::LIQUID_ISA {

float SumExp(float* top, const float* x, int64_t count) {
  F maxima = Set(x[0]);
  ForVectors(count, [&](int64_t i, auto lanes) {
    maxima = Maximum(maxima, lanes.Load(x + i) + (x[0] - lanes.Masked(x[0])));
  });
  const float shift = MaximumOfLanes(maxima);
  F sum = {};
  ForVectors(count, [&](int64_t i, auto lanes) {
    sum += lanes.Masked(1.0f) * Exp(lanes.Load(x + i) - shift);
  });
  *top = shift;
  return SumOfLanes(sum);
}

void SoftmaxGradient(float* x, float shift, float factor, int64_t count) {
  ForVectors(count, [&](int64_t i, auto lanes) {
    lanes.Store(x + i, factor * Exp(lanes.Load(x + i) - shift));
  });
}

}  // namespace liquid::LIQUID_ISA
