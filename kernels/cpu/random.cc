#include "base/random.h"

#include <array>
#include <cmath>
#include <cstdint>

#include "base/check.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/element_type.h"
#include "kernels/cpu/parallel_for.h"
#include "tensor/dtype.h"

namespace liquid {
namespace {

float Widen(float x) { return x; }
float Widen(BFloat16 x) { return ToFloat(x); }
void Round(float x, float* out) { *out = x; }
void Round(float x, BFloat16* out) { *out = ToBFloat16(x); }

// Calls `visit` with each element of a row of `width` channels, and its bits.
template <typename Visit>
void ForEachOfRow(const RandomPlace& place, int64_t token, int64_t width, const Visit& visit) {
  const int64_t row = token / place.tokens_per_row;
  const auto in_row = static_cast<uint32_t>(token % place.tokens_per_row);
  const std::array<uint32_t, 2> key = {static_cast<uint32_t>(place.row_keys[2 * row]),
                                       static_cast<uint32_t>(place.row_keys[2 * row + 1])};
  for (int64_t i = 0; i < width;) {
    const int64_t channel = place.first_channel + i;
    const auto bits =
        Philox4x32({static_cast<uint32_t>(channel / 4), in_row, place.stream, 0}, key);
    for (auto word = static_cast<size_t>(channel % 4); word < 4 && i < width; ++word, ++i) {
      visit(i, bits[word]);
    }
  }
}

// out = function(x, bits), element by element.
template <typename Function>
void MapRandom(const TensorView& out, const ConstTensorView& x, const RandomPlace& place,
               const Function& function) {
  LIQUID_CHECK(out.NumElements() == x.NumElements() && out.dtype == x.dtype);
  LIQUID_CHECK(place.row_keys != nullptr && place.tokens_per_row > 0);
  const int64_t width = x.shape.back();
  WithElementType(x.dtype, [&](auto type) {
    using T = decltype(type);
    const T* from = DataOf<T>(x);
    T* to = DataOf<T>(out);
    ParallelForRanges(x.NumRows(), 8, [&](int64_t begin, int64_t end) {
      for (int64_t n = begin; n < end; ++n) {
        ForEachOfRow(place, place.first_token + n, width, [&](int64_t i, uint32_t bits) {
          Round(function(Widen(from[n * width + i]), bits), &to[n * width + i]);
        });
      }
    });
  });
}

}  // namespace

void CpuOps::Dropout(TensorView out, ConstTensorView x, float probability,
                     const RandomPlace& place) {
  LIQUID_CHECK(probability >= 0 && probability < 1, probability);
  const auto threshold = static_cast<uint32_t>(std::ldexp(static_cast<double>(probability), 32));
  const float scale = 1 / (1 - probability);
  MapRandom(out, x, place, [threshold, scale](float value, uint32_t bits) {
    return bits < threshold ? 0.0f : value * scale;
  });
}

void CpuOps::AddNoise(TensorView out, ConstTensorView x, float magnitude,
                      const RandomPlace& place) {
  MapRandom(out, x, place, [magnitude](float value, uint32_t bits) {
    const float unit = (static_cast<float>(bits >> 9) + 0.5f) * 0x1p-22f - 1;
    return value + magnitude * unit;
  });
}

}  // namespace liquid
