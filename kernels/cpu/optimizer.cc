#include <algorithm>
#include <atomic>

#include "base/check.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/parallel_for.h"

namespace liquid {
namespace {

constexpr int64_t kGrain = 16384;
}  // namespace

void CpuOps::Accumulate(TensorView sum, ConstTensorView gradient, int64_t limit, int32_t* flag) {
  LIQUID_CHECK(sum.NumElements() == gradient.NumElements());
  LIQUID_CHECK(sum.dtype == DType::kF32 || sum.dtype == DType::kI64);
  const float* g = gradient.f32();
  std::atomic<bool> flagged = false;
  ParallelForRanges(sum.NumElements(), kGrain, [&](int64_t begin, int64_t end) {
    const int64_t count = end - begin;
    const bool bad = sum.dtype == DType::kI64
                         ? loops_.accumulate_fixed(static_cast<int64_t*>(sum.data) + begin,
                                                   g + begin, limit, count)
                         : loops_.accumulate_float(sum.f32() + begin, g + begin, count);
    if (bad) flagged.store(true, std::memory_order_relaxed);
  });
  if (flagged.load()) *flag = 1;
}

void CpuOps::SumOfSquares(TensorView chunks, ConstTensorView sum) {
  const int64_t count = sum.NumElements();
  LIQUID_CHECK(chunks.dtype == DType::kF64);
  LIQUID_CHECK(chunks.NumElements() == (count + kNormChunk - 1) / kNormChunk);
  auto* out = static_cast<double*>(chunks.data);
  ParallelForRanges(count, 16 * kNormChunk, [&](int64_t begin, int64_t end) {
    for (int64_t at = begin; at < end; at += kNormChunk) {
      const int64_t length = std::min(kNormChunk, end - at);
      out[at / kNormChunk] =
          sum.dtype == DType::kI64
              ? loops_.sum_of_squares_fixed(static_cast<const int64_t*>(sum.data) + at, length)
              : loops_.sum_of_squares_float(sum.f32() + at, length);
    }
  });
}

void CpuOps::AdamW(TensorView weight, TensorView exp_avg, TensorView exp_avg_sq, TensorView sum,
                   const AdamWOptions& options) {
  const int64_t count = weight.NumElements();
  LIQUID_CHECK(exp_avg.NumElements() == count && exp_avg_sq.NumElements() == count &&
               sum.NumElements() == count);
  const AdamWCoefficients coefficients = CoefficientsOf(options);
  float* w = weight.f32();
  float* m = exp_avg.f32();
  float* v = exp_avg_sq.f32();
  ParallelForRanges(count, kGrain, [&](int64_t begin, int64_t end) {
    if (sum.dtype == DType::kI64) {
      loops_.adamw_fixed(w + begin, m + begin, v + begin, static_cast<int64_t*>(sum.data) + begin,
                         coefficients, end - begin);
    } else {
      loops_.adamw_float(w + begin, m + begin, v + begin, sum.f32() + begin, coefficients,
                         end - begin);
    }
  });
}

}  // namespace liquid
