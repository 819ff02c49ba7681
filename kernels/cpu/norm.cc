#include "base/check.h"
#include "kernels/cpu/cpu_ops.h"
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
  float* out_data = out.f32();
  float* rstd_data = rstd.f32();
  const float* x_data = x.f32();
  const float* w = weight.f32();
  ParallelForRanges(x.NumRows(), kGrain, [&](int64_t begin, int64_t end) {
    loops_.rms_norm(out_data + begin * width, rstd_data + begin, x_data + begin * width, w, eps,
                    offset, end - begin, width);
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
  float* dx_data = dx.f32();
  const float* dy = dout.f32();
  const float* x_data = x.f32();
  const float* w = weight.f32();
  const float* r = rstd.f32();
  const RowSums sums(scratch_, rows, width);
  ParallelFor(sums.num_chunks(), [&](int64_t chunk) {
    const int64_t row = sums.FirstRow(chunk);
    const int64_t at = row * width;
    loops_.rms_norm_backward(dx_data + at, sums.Partial(chunk), dy + at, x_data + at, w, r + row,
                             offset, sums.NumRows(chunk), width);
  });
  sums.AddTo(dweight.f32(), loops_);
}

void CpuOps::LayerNorm(TensorView out, TensorView mean, TensorView rstd, ConstTensorView x,
                       ConstTensorView weight, ConstTensorView bias, float eps) {
  const int64_t width = x.shape.back();
  LIQUID_CHECK(out.NumElements() == x.NumElements() && weight.NumElements() == width &&
               bias.NumElements() == width && rstd.NumElements() == x.NumRows() &&
               mean.NumElements() == x.NumRows());
  float* out_data = out.f32();
  float* mean_data = mean.f32();
  float* rstd_data = rstd.f32();
  const float* x_data = x.f32();
  const float* w = weight.f32();
  const float* b = bias.f32();
  ParallelForRanges(x.NumRows(), kGrain, [&](int64_t begin, int64_t end) {
    loops_.layer_norm(out_data + begin * width, mean_data + begin, rstd_data + begin,
                      x_data + begin * width, w, b, eps, end - begin, width);
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
  float* dx_data = dx.f32();
  const float* dy = dout.f32();
  const float* x_data = x.f32();
  const float* w = weight.f32();
  const float* m = mean.f32();
  const float* r = rstd.f32();
  const RowSums weight_sums(scratch_, rows, width);
  const RowSums bias_sums(scratch_, rows, width);
  ParallelFor(weight_sums.num_chunks(), [&](int64_t chunk) {
    const int64_t row = weight_sums.FirstRow(chunk);
    const int64_t at = row * width;
    loops_.layer_norm_backward(dx_data + at, weight_sums.Partial(chunk), bias_sums.Partial(chunk),
                               dy + at, x_data + at, w, m + row, r + row,
                               weight_sums.NumRows(chunk), width);
  });
  weight_sums.AddTo(dweight.f32(), loops_);
  bias_sums.AddTo(dbias.f32(), loops_);
}

}  // namespace liquid
