#include "kernels/cuda/device/elementwise.h"

#include <cuda_runtime_api.h>

#include <cmath>
#include <string>

#include "base/check.h"
#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/element_type.h"

namespace liquid {

void CudaOps::AddBias(TensorView inout, ConstTensorView bias) {
  const int64_t width = inout.shape.back();
  LIQUID_CHECK(bias.NumElements() == width && bias.dtype == inout.dtype);
  Latch(cuda::AddBias(stream_.native(), ElementOf(inout), inout.data, bias.data, inout.NumRows(),
                      width),
        "AddBias");
}

void CudaOps::AddBiasBackward(TensorView dbias, ConstTensorView dout) {
  const int64_t width = dout.shape.back();
  const int64_t rows = dout.NumRows();
  LIQUID_CHECK(dbias.NumElements() == width && dbias.dtype == DType::kF32);
  const int64_t runs = cuda::NumSumRuns(rows);
  const PooledTensor partial = scratch_.AllocateF32({runs, width});
  Latch(cuda::SumRuns(stream_.native(), ElementOf(dout), partial.view().f32(), dout.data, rows,
                      width),
        "AddBiasBackward");
  Latch(cuda::AddRuns(stream_.native(), dbias.f32(), partial.view().f32(), runs, width),
        "AddBiasBackward");
}

void CudaOps::Fill(TensorView out, float value) {
  if (value == 0 && !std::signbit(value)) {
    Latch(cudaMemsetAsync(out.data, 0, static_cast<size_t>(out.NumBytes()), stream_.native()),
          "Fill");
    return;
  }
  Latch(cuda::Fill(stream_.native(), ElementOf(out), out.data, value, out.NumElements()), "Fill");
}

void CudaOps::Copy(TensorView out, ConstTensorView x) {
  const int64_t count = x.NumElements();
  LIQUID_CHECK(out.NumElements() == count);
  if (out.dtype == x.dtype) {
    if (out.data == x.data) return;
    Latch(cudaMemcpyAsync(out.data, x.data, static_cast<size_t>(x.NumBytes()),
                          cudaMemcpyDeviceToDevice, stream_.native()),
          "Copy");
  } else if (out.dtype == DType::kF32 && x.dtype == DType::kF16) {
    Latch(cuda::ConvertHalf(stream_.native(), out.f32(), x.data, count), "Copy");
  } else {
    static_cast<void>(ElementOf(x));
    Latch(cuda::Convert(stream_.native(), ElementOf(out), out.data, x.data, count), "Copy");
  }
}

void CudaOps::Add(TensorView out, ConstTensorView a, ConstTensorView b) {
  LIQUID_CHECK(out.NumElements() == a.NumElements() && a.NumElements() == b.NumElements());
  LIQUID_CHECK(out.dtype == a.dtype && a.dtype == b.dtype);
  Latch(cuda::Add(stream_.native(), ElementOf(out), out.data, a.data, b.data, out.NumElements()),
        "Add");
}

void CudaOps::Scale(TensorView out, ConstTensorView x, float factor) {
  LIQUID_CHECK(out.NumElements() == x.NumElements() && out.dtype == x.dtype);
  Latch(cuda::Scale(stream_.native(), ElementOf(out), out.data, x.data, factor, out.NumElements()),
        "Scale");
}

void CudaOps::ScaleBy(TensorView out, ConstTensorView x, ConstTensorView factor) {
  LIQUID_CHECK(out.NumElements() == x.NumElements() && factor.NumElements() == 1);
  Latch(cuda::ScaleBy(stream_.native(), ElementOf(x, out, factor), out.data, x.data, factor.data,
                      out.NumElements()),
        "ScaleBy");
}

}  // namespace liquid
