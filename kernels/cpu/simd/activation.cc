#include "kernels/cpu/simd/functions.h"
#include "kernels/cpu/simd/vector.h"

namespace liquid::LIQUID_ISA {
namespace {

struct ValueAndSlope {
  F value;
  F slope;
};

struct Silu {
  static F Value(F x) { return x / (1.0f + Exp(-x)); }
  static ValueAndSlope Both(F x) {
    const F s = 1.0f / (1.0f + Exp(-x));
    const F value = x * s;
    return {value, s + value * (1.0f - s)};
  }
};

// 0.5 x (1 + tanh(u)) = x s(2u), s the logistic function.
struct GeluTanh {
  static constexpr float kTwiceRoot = 1.5957691216057308f;  // 2 sqrt(2 / pi)
  static constexpr float kCubic = 0.044715f;
  static F Logistic(F x) {
    // Bounded so that the cube of a huge x stays finite: the logistic is 0 or 1 long before.
    const F b = Minimum(Maximum(x, Set(-20.0f)), Set(20.0f));
    return 1.0f / (1.0f + Exp(-kTwiceRoot * (b + kCubic * b * b * b)));
  }
  static F Value(F x) { return x * Logistic(x); }
  static ValueAndSlope Both(F x) {
    const F s = Logistic(x);
    const F b = Minimum(Maximum(x, Set(-20.0f)), Set(20.0f));
    const F inner = kTwiceRoot * (1.0f + 3 * kCubic * b * b);
    return {x * s, s + b * s * (1.0f - s) * inner};
  }
};

template <typename A, typename T>
void Activate(T* out, const T* x, int64_t count) {
  ForVectors(count,
             [&](int64_t i, auto lanes) { lanes.Store(out + i, A::Value(lanes.Load(x + i))); });
}

template <typename A, typename T>
void ActivateBackward(T* dx, const T* dout, const T* x, int64_t count) {
  ForVectors(count, [&](int64_t i, auto lanes) {
    lanes.Store(dx + i, lanes.Load(dout + i) * A::Both(lanes.Load(x + i)).slope);
  });
}

template <typename A, typename T>
void GatedActivate(T* out, const T* gate, const T* up, int64_t count) {
  ForVectors(count, [&](int64_t i, auto lanes) {
    lanes.Store(out + i, A::Value(lanes.Load(gate + i)) * lanes.Load(up + i));
  });
}

template <typename A, typename T>
void GatedActivateBackward(T* dgate, T* dup, const T* dout, const T* gate, const T* up,
                           int64_t count) {
  ForVectors(count, [&](int64_t i, auto lanes) {
    const ValueAndSlope a = A::Both(lanes.Load(gate + i));
    const F dy = lanes.Load(dout + i);
    const F u = lanes.Load(up + i);
    lanes.Store(dup + i, dy * a.value);
    lanes.Store(dgate + i, dy * u * a.slope);
  });
}

template <typename T>
void Activate(T* out, const T* x, int64_t count, bool gelu) {
  gelu ? Activate<GeluTanh>(out, x, count) : Activate<Silu>(out, x, count);
}

template <typename T>
void ActivateBackward(T* dx, const T* dout, const T* x, int64_t count, bool gelu) {
  gelu ? ActivateBackward<GeluTanh>(dx, dout, x, count)
       : ActivateBackward<Silu>(dx, dout, x, count);
}

template <typename T>
void GatedActivate(T* out, const T* gate, const T* up, int64_t count, bool gelu) {
  gelu ? GatedActivate<GeluTanh>(out, gate, up, count) : GatedActivate<Silu>(out, gate, up, count);
}

template <typename T>
void GatedActivateBackward(T* dgate, T* dup, const T* dout, const T* gate, const T* up,
                           int64_t count, bool gelu) {
  gelu ? GatedActivateBackward<GeluTanh>(dgate, dup, dout, gate, up, count)
       : GatedActivateBackward<Silu>(dgate, dup, dout, gate, up, count);
}

}  // namespace

template <typename T>
void SetActivations(LoopsOver<T>& loops) {
  loops.activate = Activate<T>;
  loops.activate_backward = ActivateBackward<T>;
  loops.gated_activate = GatedActivate<T>;
  loops.gated_activate_backward = GatedActivateBackward<T>;
}
template void SetActivations(LoopsOver<float>&);
template void SetActivations(LoopsOver<BFloat16>&);

}  // namespace liquid::LIQUID_ISA
