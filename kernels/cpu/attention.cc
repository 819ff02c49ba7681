#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "base/check.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/parallel_for.h"

namespace liquid {

void CpuOps::Attention(TensorView out, TensorView lse, ConstTensorView q, ConstTensorView k,
                       ConstTensorView v, const int32_t* document_start, AttentionOptions options) {
  LIQUID_CHECK(q.shape.rank() == 4 && k.shape.rank() == 4 && v.shape == k.shape);
  const int64_t batch = q.shape[0];
  const int64_t queries = q.shape[1];
  const int64_t heads = q.shape[2];
  const int64_t width = q.shape[3];
  const int64_t keys = k.shape[1];
  const int64_t groups = k.shape[2];
  const float* qd = q.f32();
  const float* kd = k.f32();
  const float* vd = v.f32();
  float* od = out.f32();
  float* ld = lse.f32();
  ParallelFor(batch * heads, [&](int64_t task) {
    const int64_t b = task / heads;
    const int64_t h = task % heads;
    const int64_t g = h / (heads / groups);
    std::vector<float> scores(static_cast<size_t>(keys));
    for (int64_t t = 0; t < queries; ++t) {
      const int64_t i = t + options.query_offset;
      int64_t first = document_start == nullptr ? 0 : document_start[b * keys + i];
      if (options.window > 0) first = std::max(first, i - options.window + 1);
      const float* qr = qd + ((b * queries + t) * heads + h) * width;
      float* to = od + ((b * queries + t) * heads + h) * width;
      float top = -std::numeric_limits<float>::infinity();
      for (int64_t j = first; j <= i; ++j) {
        const float* kr = kd + ((b * keys + j) * groups + g) * width;
        float dot = 0;
        for (int64_t c = 0; c < width; ++c) dot += qr[c] * kr[c];
        scores[j] = dot * options.scale;
        top = std::max(top, scores[j]);
      }
      double sum = 0;
      std::fill_n(to, width, 0.0f);
      for (int64_t j = first; j <= i; ++j) {
        const float p = std::exp(scores[j] - top);
        sum += double{p};
        const float* vr = vd + ((b * keys + j) * groups + g) * width;
        for (int64_t c = 0; c < width; ++c) to[c] += p * vr[c];
      }
      const auto inverse = static_cast<float>(1.0 / sum);
      for (int64_t c = 0; c < width; ++c) to[c] *= inverse;
      ld[(b * heads + h) * queries + t] = top + static_cast<float>(std::log(sum));
    }
  });
}

}  // namespace liquid
