#include "base/check.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/parallel_for.h"

namespace liquid {
namespace {

constexpr int64_t kGrain = 8192;

}  // namespace

void CpuOps::Activate(TensorView out, ConstTensorView x, Activation activation) {
  LIQUID_CHECK(out.NumElements() == x.NumElements());
  const bool gelu = activation == Activation::kGeluTanh;
  ParallelForRanges(x.NumElements(), kGrain,
                    [&, to = out.f32(), in = x.f32()](int64_t begin, int64_t end) {
                      loops_.activate(to + begin, in + begin, end - begin, gelu);
                    });
}

void CpuOps::ActivateBackward(TensorView dx, ConstTensorView dout, ConstTensorView x,
                              Activation activation) {
  LIQUID_CHECK(dx.NumElements() == x.NumElements() && dout.NumElements() == x.NumElements());
  const bool gelu = activation == Activation::kGeluTanh;
  ParallelForRanges(x.NumElements(), kGrain,
                    [&, to = dx.f32(), dy = dout.f32(), in = x.f32()](int64_t begin, int64_t end) {
                      loops_.activate_backward(to + begin, dy + begin, in + begin, end - begin,
                                               gelu);
                    });
}

void CpuOps::GatedActivate(TensorView out, ConstTensorView gate, ConstTensorView up,
                           Activation activation) {
  LIQUID_CHECK(out.NumElements() == gate.NumElements() && gate.NumElements() == up.NumElements());
  const bool gelu = activation == Activation::kGeluTanh;
  ParallelForRanges(gate.NumElements(), kGrain,
                    [&, to = out.f32(), g = gate.f32(), u = up.f32()](int64_t begin, int64_t end) {
                      loops_.gated_activate(to + begin, g + begin, u + begin, end - begin, gelu);
                    });
}

void CpuOps::GatedActivateBackward(TensorView dgate, TensorView dup, ConstTensorView dout,
                                   ConstTensorView gate, ConstTensorView up,
                                   Activation activation) {
  LIQUID_CHECK(dgate.NumElements() == gate.NumElements() && dup.NumElements() == up.NumElements() &&
               dout.NumElements() == gate.NumElements() && gate.NumElements() == up.NumElements());
  const bool gelu = activation == Activation::kGeluTanh;
  float* dg = dgate.f32();
  float* du = dup.f32();
  const float* dy = dout.f32();
  const float* g = gate.f32();
  const float* u = up.f32();
  ParallelForRanges(gate.NumElements(), kGrain, [&](int64_t begin, int64_t end) {
    loops_.gated_activate_backward(dg + begin, du + begin, dy + begin, g + begin, u + begin,
                                   end - begin, gelu);
  });
}

}  // namespace liquid
