#include "base/check.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/element_type.h"
#include "kernels/cpu/parallel_for.h"

namespace liquid {

void CpuOps::Rotary(TensorView out, ConstTensorView x, ConstTensorView cos, ConstTensorView sin,
                    const int32_t* positions, bool inverse) {
  LIQUID_CHECK(x.shape.rank() >= 2 && out.NumElements() == x.NumElements());
  const int64_t width = x.shape.back();
  const int64_t half = width / 2;
  const int64_t heads = x.shape[x.shape.rank() - 2];
  const int64_t rows = x.NumElements() / (heads * width);
  LIQUID_CHECK(width % 2 == 0 && cos.shape.back() == half && sin.shape == cos.shape);
  const float* cos_data = cos.f32();
  const float* sin_data = sin.f32();
  const int64_t num_positions = cos.shape[0];
  const float sign = inverse ? -1.0f : 1.0f;
  WithElementType(x.dtype, [&](auto type) {
    using T = decltype(type);
    T* out_data = DataOf<T>(out);
    const T* x_data = DataOf<T>(x);
    ParallelForRanges(rows, 16, [&](int64_t begin, int64_t end) {
      for (int64_t n = begin; n < end; ++n) {
        const int64_t p = positions[n];
        LIQUID_CHECK(p >= 0 && p < num_positions, "position ", p, " of ", num_positions);
        loops_.Over(type).rotate(out_data + n * heads * width, x_data + n * heads * width,
                                 cos_data + p * half, sin_data + p * half, sign, heads, width);
      }
    });
  });
}

}  // namespace liquid
