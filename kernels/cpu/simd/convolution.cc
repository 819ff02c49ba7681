#include "kernels/cpu/simd/functions.h"
#include "kernels/cpu/simd/vector.h"

namespace liquid::LIQUID_ISA {
namespace {

// Of a row [3 width] of the convolution's input, or of its gradient: b, c and u.
template <typename T>
struct Row {
  Row(T* row, int64_t width) : b(row), c(row + width), u(row + 2 * width) {}
  T* b;
  T* c;
  T* u;
};

template <typename T, typename Lanes>
inline F Product(const T* row, int64_t width, int64_t i, const Lanes& lanes) {
  const Row<const T> x(row, width);
  return lanes.Load(x.b + i) * lanes.Load(x.u + i);
}

// sum over lags of taps[lag] z[n - lag]
template <typename T, typename Lanes>
inline F Filtered(const T* in, const float* taps, int64_t num_seen, int64_t width, int64_t i,
                  const Lanes& lanes) {
  F sum = {};
  for (int64_t lag = num_seen; lag-- > 0;) {
    sum += lanes.Load(taps + lag * width + i) * Product(in - 3 * lag * width, width, i, lanes);
  }
  return sum;
}

template <typename T>
void ShortConvolution(T* out, const T* in, const float* taps, int64_t num_seen, int64_t width) {
  const Row<const T> x(in, width);
  ForVectors(width, [&](int64_t i, auto lanes) {
    lanes.Store(out + i, lanes.Load(x.c + i) * Filtered(in, taps, num_seen, width, i, lanes));
  });
}

template <typename T>
void ShortConvolutionBackward(T* din, float* dtaps, const T* dout, const T* in, const float* taps,
                              int64_t num_seen, int64_t num_seen_by, int64_t width) {
  const Row<const T> x(in, width);
  const Row<T> dx(din, width);
  ForVectors(width, [&](int64_t i, auto lanes) {
    const F filtered = Filtered(in, taps, num_seen, width, i, lanes);
    const F dy = lanes.Load(dout + i) * lanes.Load(x.c + i);
    for (int64_t lag = 0; lag < num_seen; ++lag) {
      float* const sum = dtaps + lag * width + i;
      lanes.Store(sum, lanes.Load(sum) + dy * Product(in - 3 * lag * width, width, i, lanes));
    }
    F dz = {};
    for (int64_t lag = 0; lag < num_seen_by; ++lag) {
      const Row<const T> later(in + 3 * lag * width, width);
      dz += lanes.Load(taps + lag * width + i) * lanes.Load(dout + lag * width + i) *
            lanes.Load(later.c + i);
    }
    const F b = lanes.Load(x.b + i);
    lanes.Store(dx.b + i, dz * lanes.Load(x.u + i));
    lanes.Store(dx.c + i, lanes.Load(dout + i) * filtered);
    lanes.Store(dx.u + i, dz * b);
  });
}

}  // namespace

template <typename T>
void SetConvolutions(LoopsOver<T>& loops) {
  loops.short_convolution = ShortConvolution<T>;
  loops.short_convolution_backward = ShortConvolutionBackward<T>;
}
template void SetConvolutions<float>(LoopsOver<float>&);
template void SetConvolutions<BFloat16>(LoopsOver<BFloat16>&);

}  // namespace liquid::LIQUID_ISA
