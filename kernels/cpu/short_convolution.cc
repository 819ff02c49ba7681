#include <algorithm>

#include "base/check.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/element_type.h"
#include "kernels/cpu/parallel_for.h"
#include "kernels/cpu/row_sums.h"

namespace liquid {
namespace {

// The weight [D,W] as floats, by lag: [W,D], the tap of the token itself first.
PooledTensor TapsByLag(TensorPool& scratch, const ConstTensorView& weight, const SimdLoops& loops) {
  const int64_t width = weight.shape[0];
  const int64_t num_taps = weight.NumElements() / width;
  LIQUID_CHECK(num_taps <= kMaxTaps, num_taps, " taps");
  PooledTensor taps = scratch.AllocateF32({num_taps, width});
  WithElementType(weight.dtype, [&](auto type) {
    float of_channel[kMaxTaps];
    for (int64_t d = 0; d < width; ++d) {
      loops.Over(type).read(of_channel, DataOf<decltype(type)>(weight) + d * num_taps, num_taps);
      for (int64_t lag = 0; lag < num_taps; ++lag) {
        taps.view().f32()[lag * width + d] = of_channel[num_taps - 1 - lag];
      }
    }
  });
  return taps;
}

// Lags by which token n sees others: itself and those before it in its document.
int64_t NumSeen(const int32_t* positions, int64_t n, int64_t num_taps) {
  LIQUID_CHECK(positions[n] >= 0 && positions[n] <= n, "position ", positions[n], " of token ", n);
  return std::min<int64_t>(num_taps, int64_t{positions[n]} + 1);
}

// Lags by which token n is seen.
int64_t NumSeenBy(const int32_t* positions, int64_t n, int64_t num_tokens, int64_t num_taps) {
  int64_t lag = 1;
  while (lag < num_taps && n + lag < num_tokens && positions[n + lag] >= lag) ++lag;
  return lag;
}

}  // namespace

void CpuOps::ShortConvolution(TensorView out, ConstTensorView in, ConstTensorView weight,
                              const int32_t* positions) {
  const int64_t width = out.shape.back();
  LIQUID_CHECK(in.NumElements() == 3 * out.NumElements() && weight.shape[0] == width);
  const PooledTensor taps = TapsByLag(scratch_, weight, loops_);
  const int64_t num_taps = taps.view().shape[0];
  WithElementType(in.dtype, [&](auto type) {
    using T = decltype(type);
    ParallelForRanges(out.NumRows(), 16, [&](int64_t begin, int64_t end) {
      for (int64_t n = begin; n < end; ++n) {
        loops_.Over(type).short_convolution(DataOf<T>(out) + n * width,
                                            DataOf<T>(in) + 3 * n * width, taps.view().f32(),
                                            NumSeen(positions, n, num_taps), width);
      }
    });
  });
}

void CpuOps::ShortConvolutionBackward(TensorView din, TensorView dweight, ConstTensorView dout,
                                      ConstTensorView in, ConstTensorView weight,
                                      const int32_t* positions) {
  const int64_t width = dout.shape.back();
  const int64_t num_tokens = dout.NumRows();
  LIQUID_CHECK(din.NumElements() == 3 * dout.NumElements() &&
               in.NumElements() == din.NumElements() && weight.shape[0] == width &&
               dweight.NumElements() == weight.NumElements());
  const PooledTensor taps = TapsByLag(scratch_, weight, loops_);
  const int64_t num_taps = taps.view().shape[0];
  const RowSums sums(scratch_, num_tokens, num_taps * width);
  WithElementType(in.dtype, [&](auto type) {
    using T = decltype(type);
    ParallelFor(sums.num_chunks(), [&](int64_t chunk) {
      float* const dtaps = sums.Partial(chunk);
      std::fill_n(dtaps, num_taps * width, 0.0f);
      const int64_t begin = sums.FirstRow(chunk);
      for (int64_t n = begin; n < begin + sums.NumRows(chunk); ++n) {
        loops_.Over(type).short_convolution_backward(
            DataOf<T>(din) + 3 * n * width, dtaps, DataOf<T>(dout) + n * width,
            DataOf<T>(in) + 3 * n * width, taps.view().f32(), NumSeen(positions, n, num_taps),
            NumSeenBy(positions, n, num_tokens, num_taps), width);
      }
    });
  });
  const PooledTensor total = scratch_.AllocateF32({num_taps, width});
  Fill(total.view(), 0.0f);
  sums.AddTo(total.view().f32(), loops_);
  for (int64_t d = 0; d < width; ++d) {
    for (int64_t lag = 0; lag < num_taps; ++lag) {
      dweight.f32()[d * num_taps + num_taps - 1 - lag] += total.view().f32()[lag * width + d];
    }
  }
}

}  // namespace liquid
