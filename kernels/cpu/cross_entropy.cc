#include <algorithm>
#include <cmath>
#include <vector>

#include "base/check.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/parallel_for.h"

namespace liquid {
namespace {

constexpr int64_t kChunkRows = 128;

std::vector<int64_t> ScoredRows(const int32_t* targets, int64_t rows, int64_t vocabulary) {
  std::vector<int64_t> scored;
  for (int64_t n = 0; n < rows; ++n) {
    if (targets[n] == kIgnoredTarget) continue;
    LIQUID_CHECK(targets[n] >= 0 && targets[n] < vocabulary, "target ", targets[n]);
    scored.push_back(n);
  }
  return scored;
}

// Replaces a row of logits by scale * (softmax - onehot(target)); returns the row's nll.
float SoftmaxGradient(float* logits, int64_t vocabulary, int32_t target, float scale) {
  const float top = *std::max_element(logits, logits + vocabulary);
  double sum = 0;
  const float at_target = logits[target];
  for (int64_t v = 0; v < vocabulary; ++v) {
    logits[v] = std::exp(logits[v] - top);
    sum += double{logits[v]};
  }
  const auto factor = static_cast<float>(double{scale} / sum);
  for (int64_t v = 0; v < vocabulary; ++v) logits[v] *= factor;
  logits[target] -= scale;
  return static_cast<float>(std::log(sum) + (double{top} - double{at_target}));
}

}  // namespace

void CpuOps::LinearCrossEntropy(TensorView nll, ConstTensorView x, ConstTensorView weight,
                                const int32_t* targets) {
  LinearCrossEntropyWithGradient(nll, TensorView(), TensorView(), x, weight, targets, 1.0f);
}

void CpuOps::LinearCrossEntropyWithGradient(TensorView nll, TensorView dx, TensorView dweight,
                                            ConstTensorView x, ConstTensorView weight,
                                            const int32_t* targets, float gradient_scale) {
  const int64_t width = x.shape.back();
  const int64_t rows = x.NumRows();
  const int64_t vocabulary = weight.shape[0];
  LIQUID_CHECK(weight.shape.back() == width && nll.NumElements() == rows);
  const bool with_gradient = dx.data != nullptr;
  float* nll_data = nll.f32();
  std::fill_n(nll_data, rows, 0.0f);
  if (with_gradient) Fill(dx, 0.0f);
  const std::vector<int64_t> scored = ScoredRows(targets, rows, vocabulary);
  const auto num_scored = static_cast<int64_t>(scored.size());
  PooledTensor logits = scratch_.AllocateF32({kChunkRows, vocabulary});
  PooledTensor gathered = scratch_.AllocateF32({kChunkRows, width});
  for (int64_t first = 0; first < num_scored; first += kChunkRows) {
    const int64_t count = std::min(kChunkRows, num_scored - first);
    const int64_t* row_ids = scored.data() + first;
    const TensorView chunk_logits(logits.view().f32(), {count, vocabulary});
    const TensorView chunk_x(gathered.view().f32(), {count, width});
    for (int64_t i = 0; i < count; ++i) {
      std::copy_n(x.f32() + row_ids[i] * width, width, chunk_x.f32() + i * width);
    }
    MatMul(chunk_logits, chunk_x, weight, {.transpose_b = true});
    ParallelFor(count, [&](int64_t i) {
      nll_data[row_ids[i]] = SoftmaxGradient(chunk_logits.f32() + i * vocabulary, vocabulary,
                                             targets[row_ids[i]], gradient_scale);
    });
    if (!with_gradient) continue;
    MatMul(dweight, chunk_logits, chunk_x, {.transpose_a = true, .accumulate = true});
    MatMul(chunk_x, chunk_logits, weight, {});
    for (int64_t i = 0; i < count; ++i) {
      std::copy_n(chunk_x.f32() + i * width, width, dx.f32() + row_ids[i] * width);
    }
  }
}

}  // namespace liquid
