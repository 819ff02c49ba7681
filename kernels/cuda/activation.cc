#include "kernels/cuda/device/activation.h"

#include "base/check.h"
#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/element_type.h"

namespace liquid {

void CudaOps::Activate(TensorView out, ConstTensorView x, Activation activation) {
  LIQUID_CHECK(out.NumElements() == x.NumElements());
  Latch(cuda::Activate(stream_.native(), out.data, x.data, ElementOf(x, out), x.NumElements(),
                       activation == Activation::kGeluTanh),
        "Activate");
}

void CudaOps::ActivateBackward(TensorView dx, ConstTensorView dout, ConstTensorView x,
                               Activation activation) {
  LIQUID_CHECK(dx.NumElements() == x.NumElements() && dout.NumElements() == x.NumElements());
  Latch(cuda::ActivateBackward(stream_.native(), dx.data, dout.data, x.data, ElementOf(x, dx, dout),
                               x.NumElements(), activation == Activation::kGeluTanh),
        "ActivateBackward");
}

void CudaOps::GatedActivate(TensorView out, ConstTensorView gate, ConstTensorView up,
                            Activation activation) {
  LIQUID_CHECK(out.NumElements() == gate.NumElements() && gate.NumElements() == up.NumElements());
  Latch(
      cuda::GatedActivate(stream_.native(), out.data, gate.data, up.data, ElementOf(gate, up, out),
                          gate.NumElements(), activation == Activation::kGeluTanh),
      "GatedActivate");
}

void CudaOps::GatedActivateBackward(TensorView dgate, TensorView dup, ConstTensorView dout,
                                    ConstTensorView gate, ConstTensorView up,
                                    Activation activation) {
  LIQUID_CHECK(dgate.NumElements() == gate.NumElements() && dup.NumElements() == up.NumElements() &&
               dout.NumElements() == gate.NumElements() && gate.NumElements() == up.NumElements());
  Latch(cuda::GatedActivateBackward(stream_.native(), dgate.data, dup.data, dout.data, gate.data,
                                    up.data, ElementOf(gate, up, dout, dgate, dup),
                                    gate.NumElements(), activation == Activation::kGeluTanh),
        "GatedActivateBackward");
}

}  // namespace liquid
