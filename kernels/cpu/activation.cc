#include <cmath>

#include "base/check.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/parallel_for.h"

namespace liquid {
namespace {

constexpr int64_t kGrain = 8192;

struct ValueAndSlope {
  float value;
  float slope;
};

ValueAndSlope Evaluate(float x, Activation activation) {
  if (activation == Activation::kSilu) {
    const float s = 1.0f / (1.0f + std::exp(-x));
    return {x * s, s * (1.0f + x * (1.0f - s))};
  }
  constexpr float kRoot = 0.7978845608028654f;  // sqrt(2 / pi)
  constexpr float kCubic = 0.044715f;
  const float t = std::tanh(kRoot * (x + kCubic * x * x * x));
  const float inner = kRoot * (1.0f + 3.0f * kCubic * x * x);
  return {0.5f * x * (1.0f + t), 0.5f * (1.0f + t) + 0.5f * x * (1.0f - t * t) * inner};
}

}  // namespace

void CpuOps::Activate(TensorView out, ConstTensorView x, Activation activation) {
  LIQUID_CHECK(out.NumElements() == x.NumElements());
  ParallelForRanges(x.NumElements(), kGrain,
                    [&, to = out.f32(), in = x.f32()](int64_t begin, int64_t end) {
                      for (int64_t i = begin; i < end; ++i)
                        to[i] = Evaluate(in[i], activation).value;
                    });
}

void CpuOps::ActivateBackward(TensorView dx, ConstTensorView dout, ConstTensorView x,
                              Activation activation) {
  LIQUID_CHECK(dx.NumElements() == x.NumElements() && dout.NumElements() == x.NumElements());
  ParallelForRanges(x.NumElements(), kGrain,
                    [&, to = dx.f32(), dy = dout.f32(), in = x.f32()](int64_t begin, int64_t end) {
                      for (int64_t i = begin; i < end; ++i) {
                        to[i] = dy[i] * Evaluate(in[i], activation).slope;
                      }
                    });
}

void CpuOps::GatedActivate(TensorView out, ConstTensorView gate, ConstTensorView up,
                           Activation activation) {
  LIQUID_CHECK(out.NumElements() == gate.NumElements() && gate.NumElements() == up.NumElements());
  ParallelForRanges(gate.NumElements(), kGrain,
                    [&, to = out.f32(), g = gate.f32(), u = up.f32()](int64_t begin, int64_t end) {
                      for (int64_t i = begin; i < end; ++i) {
                        to[i] = Evaluate(g[i], activation).value * u[i];
                      }
                    });
}

void CpuOps::GatedActivateBackward(TensorView dgate, TensorView dup, ConstTensorView dout,
                                   ConstTensorView gate, ConstTensorView up,
                                   Activation activation) {
  LIQUID_CHECK(dgate.NumElements() == gate.NumElements() && dup.NumElements() == up.NumElements() &&
               dout.NumElements() == gate.NumElements() && gate.NumElements() == up.NumElements());
  float* dg = dgate.f32();
  float* du = dup.f32();
  const float* dy = dout.f32();
  const float* g = gate.f32();
  const float* u = up.f32();
  ParallelForRanges(gate.NumElements(), kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const ValueAndSlope a = Evaluate(g[i], activation);
      const float slope_gradient = dy[i] * u[i] * a.slope;
      du[i] = dy[i] * a.value;
      dg[i] = slope_gradient;
    }
  });
}

}  // namespace liquid
