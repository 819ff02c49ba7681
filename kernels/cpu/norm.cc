#include "base/check.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/element_type.h"
#include "kernels/cpu/parallel_for.h"
#include "kernels/cpu/row_sums.h"

namespace liquid {
namespace {

constexpr int64_t kGrain = 16;  // rows of a chunk

}  // namespace

void CpuOps::RmsNorm(TensorView out, TensorView rstd, ConstTensorView x, ConstTensorView weight,
                     float eps, float offset) {
  const int64_t width = x.shape.back();
  LIQUID_CHECK(out.NumElements() == x.NumElements() && weight.NumElements() == width &&
               rstd.NumElements() == x.NumRows());
  float* rstd_data = rstd.f32();
  WithElementType(x.dtype, [&](auto type) {
    using T = decltype(type);
    T* out_data = DataOf<T>(out);
    const T* x_data = DataOf<T>(x);
    const T* w = DataOf<T>(weight);
    ParallelForRanges(x.NumRows(), kGrain, [&](int64_t begin, int64_t end) {
      loops_.Over(type).rms_norm(out_data + begin * width, rstd_data + begin,
                                 x_data + begin * width, w, eps, offset, end - begin, width);
    });
  });
}

void CpuOps::RmsNormBackward(TensorView dx, TensorView dweight, ConstTensorView dout,
                             ConstTensorView x, ConstTensorView weight, ConstTensorView rstd,
                             float offset) {
  const int64_t width = x.shape.back();
  const int64_t rows = x.NumRows();
  LIQUID_CHECK(dx.NumElements() == x.NumElements() && dout.NumElements() == x.NumElements() &&
               weight.NumElements() == width && dweight.NumElements() == width &&
               rstd.NumElements() == rows);
  const float* r = rstd.f32();
  const RowSums sums(scratch_, rows, width);
  WithElementType(x.dtype, [&](auto type) {
    using T = decltype(type);
    T* dx_data = DataOf<T>(dx);
    const T* dy = DataOf<T>(dout);
    const T* x_data = DataOf<T>(x);
    const T* w = DataOf<T>(weight);
    ParallelFor(sums.num_chunks(), [&](int64_t chunk) {
      const int64_t row = sums.FirstRow(chunk);
      const int64_t at = row * width;
      loops_.Over(type).rms_norm_backward(dx_data + at, sums.Partial(chunk), dy + at, x_data + at,
                                          w, r + row, offset, sums.NumRows(chunk), width);
    });
  });
  sums.AddTo(dweight.f32(), loops_);
}

void CpuOps::LayerNorm(TensorView out, TensorView mean, TensorView rstd, ConstTensorView x,
                       ConstTensorView weight, ConstTensorView bias, float eps) {
  const int64_t width = x.shape.back();
  LIQUID_CHECK(out.NumElements() == x.NumElements() && weight.NumElements() == width &&
               bias.NumElements() == width && rstd.NumElements() == x.NumRows() &&
               mean.NumElements() == x.NumRows());
  float* mean_data = mean.f32();
  float* rstd_data = rstd.f32();
  WithElementType(x.dtype, [&](auto type) {
    using T = decltype(type);
    T* out_data = DataOf<T>(out);
    const T* x_data = DataOf<T>(x);
    const T* w = DataOf<T>(weight);
    const T* b = DataOf<T>(bias);
    ParallelForRanges(x.NumRows(), kGrain, [&](int64_t begin, int64_t end) {
      loops_.Over(type).layer_norm(out_data + begin * width, mean_data + begin, rstd_data + begin,
                                   x_data + begin * width, w, b, eps, end - begin, width);
    });
  });
}

void CpuOps::LayerNormBackward(TensorView dx, TensorView dweight, TensorView dbias,
                               ConstTensorView dout, ConstTensorView x, ConstTensorView weight,
                               ConstTensorView mean, ConstTensorView rstd) {
  const int64_t width = x.shape.back();
  const int64_t rows = x.NumRows();
  LIQUID_CHECK(dx.NumElements() == x.NumElements() && dout.NumElements() == x.NumElements() &&
               weight.NumElements() == width && dweight.NumElements() == width &&
               dbias.NumElements() == width && rstd.NumElements() == rows &&
               mean.NumElements() == rows);
  const float* m = mean.f32();
  const float* r = rstd.f32();
  const RowSums weight_sums(scratch_, rows, width);
  const RowSums bias_sums(scratch_, rows, width);
  WithElementType(x.dtype, [&](auto type) {
    using T = decltype(type);
    T* dx_data = DataOf<T>(dx);
    const T* dy = DataOf<T>(dout);
    const T* x_data = DataOf<T>(x);
    const T* w = DataOf<T>(weight);
    ParallelFor(weight_sums.num_chunks(), [&](int64_t chunk) {
      const int64_t row = weight_sums.FirstRow(chunk);
      const int64_t at = row * width;
      loops_.Over(type).layer_norm_backward(dx_data + at, weight_sums.Partial(chunk),
                                            bias_sums.Partial(chunk), dy + at, x_data + at, w,
                                            m + row, r + row, weight_sums.NumRows(chunk), width);
    });
  });
  weight_sums.AddTo(dweight.f32(), loops_);
  bias_sums.AddTo(dbias.f32(), loops_);
}

}  // namespace liquid
