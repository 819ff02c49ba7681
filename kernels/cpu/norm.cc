#include <cmath>

#include "base/check.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/parallel_for.h"

namespace liquid {

void CpuOps::RmsNorm(TensorView out, TensorView rstd, ConstTensorView x, ConstTensorView weight,
                     float eps, float offset) {
  const int64_t width = x.shape.back();
  LIQUID_CHECK(out.NumElements() == x.NumElements() && weight.NumElements() == width &&
               rstd.NumElements() == x.NumRows());
  float* out_data = out.f32();
  float* rstd_data = rstd.f32();
  const float* x_data = x.f32();
  const float* w = weight.f32();
  ParallelForRanges(x.NumRows(), 16, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const float* xr = x_data + row * width;
      double sum = 0;
      for (int64_t d = 0; d < width; ++d) sum += double{xr[d]} * xr[d];
      const auto r =
          static_cast<float>(1.0 / std::sqrt(sum / static_cast<double>(width) + double{eps}));
      rstd_data[row] = r;
      for (int64_t d = 0; d < width; ++d) out_data[row * width + d] = xr[d] * r * (offset + w[d]);
    }
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
  float* dweight_data = dweight.f32();
  const float* dy = dout.f32();
  const float* x_data = x.f32();
  const float* w = weight.f32();
  const float* r = rstd.f32();
  ParallelForRanges(width, 64, [&](int64_t begin, int64_t end) {
    for (int64_t d = begin; d < end; ++d) {
      double sum = 0;
      for (int64_t row = 0; row < rows; ++row) {
        sum += double{dy[row * width + d]} * x_data[row * width + d] * r[row];
      }
      dweight_data[d] += static_cast<float>(sum);
    }
  });
  ParallelForRanges(rows, 16, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const float* dyr = dy + row * width;
      const float* xr = x_data + row * width;
      double dot = 0;
      for (int64_t d = 0; d < width; ++d) dot += double{dyr[d]} * (offset + w[d]) * xr[d];
      const double rr = r[row];
      const auto shift = static_cast<float>(dot * rr * rr * rr / static_cast<double>(width));
      for (int64_t d = 0; d < width; ++d) {
        dx_data[row * width + d] = dyr[d] * (offset + w[d]) * r[row] - xr[d] * shift;
      }
    }
  });
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
  ParallelForRanges(x.NumRows(), 16, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const float* xr = x_data + row * width;
      double sum = 0;
      for (int64_t d = 0; d < width; ++d) sum += double{xr[d]};
      const double mu = sum / static_cast<double>(width);
      double squares = 0;
      for (int64_t d = 0; d < width; ++d) squares += (xr[d] - mu) * (xr[d] - mu);
      const auto m = static_cast<float>(mu);
      const auto r =
          static_cast<float>(1.0 / std::sqrt(squares / static_cast<double>(width) + double{eps}));
      mean_data[row] = m;
      rstd_data[row] = r;
      for (int64_t d = 0; d < width; ++d) {
        out_data[row * width + d] = (xr[d] - m) * r * w[d] + b[d];
      }
    }
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
  float* dweight_data = dweight.f32();
  float* dbias_data = dbias.f32();
  const float* dy = dout.f32();
  const float* x_data = x.f32();
  const float* w = weight.f32();
  const float* m = mean.f32();
  const float* r = rstd.f32();
  ParallelForRanges(width, 64, [&](int64_t begin, int64_t end) {
    for (int64_t d = begin; d < end; ++d) {
      double sum = 0;
      double bias_sum = 0;
      for (int64_t row = 0; row < rows; ++row) {
        sum += double{dy[row * width + d]} * (x_data[row * width + d] - m[row]) * r[row];
        bias_sum += double{dy[row * width + d]};
      }
      dweight_data[d] += static_cast<float>(sum);
      dbias_data[d] += static_cast<float>(bias_sum);
    }
  });
  ParallelForRanges(rows, 16, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const float* dyr = dy + row * width;
      const float* xr = x_data + row * width;
      double sum = 0;
      double dot = 0;
      for (int64_t d = 0; d < width; ++d) {
        const double g = double{dyr[d]} * w[d];
        sum += g;
        dot += g * (xr[d] - m[row]) * r[row];
      }
      const auto shift = static_cast<float>(sum / static_cast<double>(width));
      const auto slope = static_cast<float>(dot / static_cast<double>(width));
      for (int64_t d = 0; d < width; ++d) {
        dx_data[row * width + d] =
            r[row] * (dyr[d] * w[d] - shift - (xr[d] - m[row]) * r[row] * slope);
      }
    }
  });
}

}  // namespace liquid
