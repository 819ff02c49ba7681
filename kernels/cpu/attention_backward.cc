#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/parallel_for.h"

namespace liquid {

void CpuOps::AttentionBackward(TensorView dq, TensorView dk, TensorView dv, ConstTensorView dout,
                               ConstTensorView q, ConstTensorView k, ConstTensorView v,
                               ConstTensorView out, ConstTensorView lse,
                               const int32_t* document_start, AttentionOptions options) {
  LIQUID_CHECK(q.shape.rank() == 4 && k.shape.rank() == 4 && v.shape == k.shape);
  LIQUID_CHECK(q.shape[1] == k.shape[1] && options.query_offset == 0);
  const int64_t batch = q.shape[0];
  const int64_t tokens = q.shape[1];
  const int64_t heads = q.shape[2];
  const int64_t width = q.shape[3];
  const int64_t groups = k.shape[2];
  const float* qd = q.f32();
  const float* kd = k.f32();
  const float* vd = v.f32();
  const float* dod = dout.f32();
  const float* od = out.f32();
  const float* ld = lse.f32();
  float* dqd = dq.f32();
  float* dkd = dk.f32();
  float* dvd = dv.f32();
  ParallelFor(batch * groups, [&](int64_t task) {
    const int64_t b = task / groups;
    const int64_t g = task % groups;
    for (int64_t j = 0; j < tokens; ++j) {
      std::fill_n(dkd + ((b * tokens + j) * groups + g) * width, width, 0.0f);
      std::fill_n(dvd + ((b * tokens + j) * groups + g) * width, width, 0.0f);
    }
    for (int64_t h = g * (heads / groups); h < (g + 1) * (heads / groups); ++h) {
      for (int64_t i = 0; i < tokens; ++i) {
        int64_t first = document_start == nullptr ? 0 : document_start[b * tokens + i];
        if (options.window > 0) first = std::max(first, i - options.window + 1);
        const int64_t at = ((b * tokens + i) * heads + h) * width;
        float delta = 0;
        for (int64_t c = 0; c < width; ++c) delta += dod[at + c] * od[at + c];
        std::fill_n(dqd + at, width, 0.0f);
        for (int64_t j = first; j <= i; ++j) {
          const int64_t key = ((b * tokens + j) * groups + g) * width;
          float score = 0;
          float dp = 0;
          for (int64_t c = 0; c < width; ++c) score += qd[at + c] * kd[key + c];
          for (int64_t c = 0; c < width; ++c) dp += dod[at + c] * vd[key + c];
          const float p = std::exp(score * options.scale - ld[(b * heads + h) * tokens + i]);
          const float ds = p * (dp - delta) * options.scale;
          for (int64_t c = 0; c < width; ++c) {
            dqd[at + c] += ds * kd[key + c];
            dkd[key + c] += ds * qd[at + c];
            dvd[key + c] += p * dod[at + c];
          }
        }
      }
    }
  });
}

}  // namespace liquid
