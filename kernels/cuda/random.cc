#include "kernels/cuda/device/random.h"

#include <cmath>

#include "base/check.h"
#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/element_type.h"

namespace liquid {
namespace {

cuda::RandomShape ShapeOf(const ConstTensorView& x, const RandomPlace& place) {
  LIQUID_CHECK(place.row_keys != nullptr && place.tokens_per_row > 0);
  return {.tokens = x.NumRows(),
          .width = x.shape.back(),
          .tokens_per_row = place.tokens_per_row,
          .first_token = place.first_token,
          .first_channel = place.first_channel,
          .stream = place.stream};
}

}  // namespace

void CudaOps::Dropout(TensorView out, ConstTensorView x, float probability,
                      const RandomPlace& place) {
  LIQUID_CHECK(probability >= 0 && probability < 1, probability);
  LIQUID_CHECK(out.NumElements() == x.NumElements());
  const auto threshold = static_cast<uint32_t>(std::ldexp(static_cast<double>(probability), 32));
  Latch(cuda::Dropout(stream_.native(), ElementOf(x, out), out.data, x.data, place.row_keys,
                      threshold, 1 / (1 - probability), ShapeOf(x, place)),
        "Dropout");
}

void CudaOps::AddNoise(TensorView out, ConstTensorView x, float magnitude,
                       const RandomPlace& place) {
  LIQUID_CHECK(out.NumElements() == x.NumElements());
  Latch(cuda::AddNoise(stream_.native(), ElementOf(x, out), out.data, x.data, place.row_keys,
                       magnitude, ShapeOf(x, place)),
        "AddNoise");
}

}  // namespace liquid
