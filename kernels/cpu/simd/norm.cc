#include "kernels/cpu/simd/functions.h"
#include "kernels/cpu/simd/vector.h"

namespace liquid::LIQUID_ISA {
namespace {

// The sum over i < count of term(i, lanes): float lanes over runs of 1024 elements, whose sums are
// added in double. The rounding is that of 64 float additions however long the row.
template <typename Term>
inline double SumOver(int64_t count, const Term& term) {
  constexpr int64_t kRun = 1024;
  double total = 0;
  for (int64_t begin = 0; begin < count; begin += kRun) {
    F sum = {};
    ForVectors(Min(kRun, count - begin),
               [&](int64_t i, auto lanes) { sum += term(begin + i, lanes); });
    total += SumOfLanes(sum);
  }
  return total;
}

float InverseRoot(double mean_square, float eps) {
  return static_cast<float>(1.0 / __builtin_sqrt(mean_square + static_cast<double>(eps)));
}

template <typename T>
void RmsNorm(T* out, float* rstd, const T* x, const T* weight, float eps, float offset,
             int64_t rows, int64_t width) {
  for (int64_t row = 0; row < rows; ++row) {
    const T* xr = x + row * width;
    const double sum = SumOver(width, [&](int64_t i, auto lanes) {
      const F v = lanes.Load(xr + i);
      return v * v;
    });
    const float r = InverseRoot(sum / static_cast<double>(width), eps);
    rstd[row] = r;
    ForVectors(width, [&](int64_t i, auto lanes) {
      lanes.Store(out + row * width + i,
                  lanes.Load(xr + i) * r * (offset + lanes.Load(weight + i)));
    });
  }
}

template <typename T>
void RmsNormBackward(T* dx, float* dweight, const T* dout, const T* x, const T* weight,
                     const float* rstd, float offset, int64_t rows, int64_t width) {
  ForVectors(width, [&](int64_t i, auto lanes) { lanes.Store(dweight + i, F{}); });
  for (int64_t row = 0; row < rows; ++row) {
    const T* xr = x + row * width;
    const T* dyr = dout + row * width;
    const float r = rstd[row];
    const double dot = SumOver(width, [&](int64_t i, auto lanes) {
      const F dy_x = lanes.Load(dyr + i) * lanes.Load(xr + i);
      lanes.Store(dweight + i, lanes.Load(dweight + i) + dy_x * r);
      return dy_x * (offset + lanes.Load(weight + i));
    });
    const double rr = static_cast<double>(r);
    const auto slope = static_cast<float>(dot * rr * rr * rr / static_cast<double>(width));
    ForVectors(width, [&](int64_t i, auto lanes) {
      const F g = lanes.Load(dyr + i) * (offset + lanes.Load(weight + i));
      lanes.Store(dx + row * width + i, g * r - lanes.Load(xr + i) * slope);
    });
  }
}

template <typename T>
void LayerNorm(T* out, float* mean, float* rstd, const T* x, const T* weight, const T* bias,
               float eps, int64_t rows, int64_t width) {
  const auto count = static_cast<double>(width);
  for (int64_t row = 0; row < rows; ++row) {
    const T* xr = x + row * width;
    const auto m = static_cast<float>(
        SumOver(width, [&](int64_t i, auto lanes) { return lanes.Load(xr + i); }) / count);
    const double squares = SumOver(width, [&](int64_t i, auto lanes) {
      // Absent lanes must not count: they read as m - m.
      const F v = lanes.Load(xr + i) - lanes.Masked(m);
      return v * v;
    });
    const float r = InverseRoot(squares / count, eps);
    mean[row] = m;
    rstd[row] = r;
    ForVectors(width, [&](int64_t i, auto lanes) {
      lanes.Store(out + row * width + i,
                  (lanes.Load(xr + i) - m) * r * lanes.Load(weight + i) + lanes.Load(bias + i));
    });
  }
}

template <typename T>
void LayerNormBackward(T* dx, float* dweight, float* dbias, const T* dout, const T* x,
                       const T* weight, const float* mean, const float* rstd, int64_t rows,
                       int64_t width) {
  ForVectors(width, [&](int64_t i, auto lanes) {
    lanes.Store(dweight + i, F{});
    lanes.Store(dbias + i, F{});
  });
  const auto count = static_cast<double>(width);
  for (int64_t row = 0; row < rows; ++row) {
    const T* xr = x + row * width;
    const T* dyr = dout + row * width;
    const float m = mean[row];
    const float r = rstd[row];
    const double sum = SumOver(width, [&](int64_t i, auto lanes) {
      const F dy = lanes.Load(dyr + i);
      lanes.Store(dbias + i, lanes.Load(dbias + i) + dy);
      return dy * lanes.Load(weight + i);
    });
    const double dot = SumOver(width, [&](int64_t i, auto lanes) {
      const F dy_x = lanes.Load(dyr + i) * ((lanes.Load(xr + i) - m) * r);
      lanes.Store(dweight + i, lanes.Load(dweight + i) + dy_x);
      return dy_x * lanes.Load(weight + i);
    });
    const auto shift = static_cast<float>(sum / count);
    const auto slope = static_cast<float>(dot / count);
    ForVectors(width, [&](int64_t i, auto lanes) {
      const F g = lanes.Load(dyr + i) * lanes.Load(weight + i);
      const F normal = (lanes.Load(xr + i) - m) * r;
      lanes.Store(dx + row * width + i, r * (g - shift - normal * slope));
    });
  }
}

}  // namespace

template <typename T>
void SetNorms(LoopsOver<T>& loops) {
  loops.rms_norm = RmsNorm<T>;
  loops.rms_norm_backward = RmsNormBackward<T>;
  loops.layer_norm = LayerNorm<T>;
  loops.layer_norm_backward = LayerNormBackward<T>;
}
template void SetNorms(LoopsOver<float>&);
template void SetNorms(LoopsOver<BFloat16>&);

}  // namespace liquid::LIQUID_ISA
