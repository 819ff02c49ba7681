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

void SoftCap(float* x, float cap, int64_t count) {
  const float inverse = 2.0f / cap;
  ForVectors(count, [&](int64_t i, auto lanes) {
    // tanh(y) = 1 - 2 / (1 + e^2y)
    const F raw = lanes.Load(x + i);
    lanes.Store(x + i, cap - 2.0f * cap / (1.0f + Exp(inverse * raw)));
  });
}

void CappedGradients(float* x, float top, float factor, float cap, int64_t count) {
  const float inverse = 1.0f / cap;
  ForVectors(count, [&](int64_t i, auto lanes) {
    const F capped = lanes.Load(x + i);
    const F part = capped * inverse;
    lanes.Store(x + i, factor * Exp(capped - top) * (1.0f - part * part));
  });
}

}  // namespace liquid::LIQUID_ISA
