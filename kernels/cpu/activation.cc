#include "base/check.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/element_type.h"
#include "kernels/cpu/parallel_for.h"

namespace liquid {
namespace {

constexpr int64_t kGrain = 8192;

}  // namespace

void CpuOps::Activate(TensorView out, ConstTensorView x, Activation activation) {
  LIQUID_CHECK(out.NumElements() == x.NumElements());
  const bool gelu = activation == Activation::kGeluTanh;
  WithElementType(x.dtype, [&](auto type) {
    using T = decltype(type);
    T* to = DataOf<T>(out);
    const T* in = DataOf<T>(x);
    ParallelForRanges(x.NumElements(), kGrain, [&](int64_t begin, int64_t end) {
      loops_.Over(type).activate(to + begin, in + begin, end - begin, gelu);
    });
  });
}

void CpuOps::ActivateBackward(TensorView dx, ConstTensorView dout, ConstTensorView x,
                              Activation activation) {
  LIQUID_CHECK(dx.NumElements() == x.NumElements() && dout.NumElements() == x.NumElements());
  const bool gelu = activation == Activation::kGeluTanh;
  WithElementType(x.dtype, [&](auto type) {
    using T = decltype(type);
    T* to = DataOf<T>(dx);
    const T* dy = DataOf<T>(dout);
    const T* in = DataOf<T>(x);
    ParallelForRanges(x.NumElements(), kGrain, [&](int64_t begin, int64_t end) {
      loops_.Over(type).activate_backward(to + begin, dy + begin, in + begin, end - begin, gelu);
    });
  });
}

void CpuOps::GatedActivate(TensorView out, ConstTensorView gate, ConstTensorView up,
                           Activation activation) {
  LIQUID_CHECK(out.NumElements() == gate.NumElements() && gate.NumElements() == up.NumElements());
  const bool gelu = activation == Activation::kGeluTanh;
  WithElementType(gate.dtype, [&](auto type) {
    using T = decltype(type);
    T* to = DataOf<T>(out);
    const T* g = DataOf<T>(gate);
    const T* u = DataOf<T>(up);
    ParallelForRanges(gate.NumElements(), kGrain, [&](int64_t begin, int64_t end) {
      loops_.Over(type).gated_activate(to + begin, g + begin, u + begin, end - begin, gelu);
    });
  });
}

void CpuOps::GatedActivateBackward(TensorView dgate, TensorView dup, ConstTensorView dout,
                                   ConstTensorView gate, ConstTensorView up,
                                   Activation activation) {
  LIQUID_CHECK(dgate.NumElements() == gate.NumElements() && dup.NumElements() == up.NumElements() &&
               dout.NumElements() == gate.NumElements() && gate.NumElements() == up.NumElements());
  const bool gelu = activation == Activation::kGeluTanh;
  WithElementType(gate.dtype, [&](auto type) {
    using T = decltype(type);
    T* dg = DataOf<T>(dgate);
    T* du = DataOf<T>(dup);
    const T* dy = DataOf<T>(dout);
    const T* g = DataOf<T>(gate);
    const T* u = DataOf<T>(up);
    ParallelForRanges(gate.NumElements(), kGrain, [&](int64_t begin, int64_t end) {
      loops_.Over(type).gated_activate_backward(dg + begin, du + begin, dy + begin, g + begin,
                                                u + begin, end - begin, gelu);
    });
  });
}

}  // namespace liquid
