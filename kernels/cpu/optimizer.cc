#include <atomic>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/parallel_for.h"

namespace liquid {
namespace {

constexpr int64_t kGrain = 16384;
constexpr double kFixedPointOne = static_cast<double>(int64_t{1} << kFixedPointBits);

float ReadSum(const TensorView& sum, int64_t i) {
  if (sum.dtype == DType::kF32) return static_cast<const float*>(sum.data)[i];
  return static_cast<float>(static_cast<double>(static_cast<const int64_t*>(sum.data)[i]) /
                            kFixedPointOne);
}

}  // namespace

void CpuOps::Accumulate(TensorView sum, ConstTensorView gradient, int64_t limit, int32_t* flag) {
  LIQUID_CHECK(sum.NumElements() == gradient.NumElements());
  LIQUID_CHECK(sum.dtype == DType::kF32 || sum.dtype == DType::kI64);
  const float* g = gradient.f32();
  std::atomic<bool> flagged = false;
  ParallelForRanges(sum.NumElements(), kGrain, [&](int64_t begin, int64_t end) {
    bool bad = false;
    if (sum.dtype == DType::kF32) {
      float* to = sum.f32();
      for (int64_t i = begin; i < end; ++i) {
        bad |= !std::isfinite(g[i]);
        to[i] += g[i];
      }
    } else {
      auto* to = static_cast<int64_t*>(sum.data);
      const auto bound = static_cast<double>(limit);
      for (int64_t i = begin; i < end; ++i) {
        const double scaled = double{g[i]} * kFixedPointOne;
        if (!std::isfinite(g[i])) {
          bad = true;
        } else if (std::abs(scaled) > bound) {
          bad = true;
          to[i] += scaled > 0 ? limit : -limit;
        } else {
          to[i] += std::llrint(scaled);
        }
      }
    }
    if (bad) flagged.store(true, std::memory_order_relaxed);
  });
  if (flagged.load()) *flag = 1;
}

void CpuOps::SumOfSquares(TensorView chunks, ConstTensorView sum) {
  const int64_t count = sum.NumElements();
  LIQUID_CHECK(chunks.dtype == DType::kF64);
  LIQUID_CHECK(chunks.NumElements() == (count + kNormChunk - 1) / kNormChunk);
  auto* out = static_cast<double*>(chunks.data);
  const TensorView in(const_cast<void*>(sum.data), sum.dtype, sum.shape);
  ParallelForRanges(count, 16 * kNormChunk, [&](int64_t begin, int64_t end) {
    for (int64_t at = begin; at < end; at += kNormChunk) {
      double total = 0;
      for (int64_t i = at; i < std::min(end, at + kNormChunk); ++i) {
        const double value = ReadSum(in, i);
        total += value * value;
      }
      out[at / kNormChunk] = total;
    }
  });
}

void CpuOps::AdamW(TensorView weight, TensorView exp_avg, TensorView exp_avg_sq, TensorView sum,
                   const AdamWOptions& options) {
  const int64_t count = weight.NumElements();
  LIQUID_CHECK(exp_avg.NumElements() == count && exp_avg_sq.NumElements() == count &&
               sum.NumElements() == count);
  LIQUID_CHECK(options.step >= 1);
  const auto step = static_cast<double>(options.step);
  const auto correction1 = static_cast<float>(1.0 - std::pow(double{options.beta1}, step));
  const auto correction2 =
      static_cast<float>(std::sqrt(1.0 - std::pow(double{options.beta2}, step)));
  const float decay = 1.0f - options.learning_rate * options.weight_decay;
  const float rate = options.learning_rate / correction1;
  float* w = weight.f32();
  float* m = exp_avg.f32();
  float* v = exp_avg_sq.f32();
  ParallelForRanges(count, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float g = options.gradient_scale * ReadSum(sum, i);
      m[i] = options.beta1 * m[i] + (1.0f - options.beta1) * g;
      v[i] = options.beta2 * v[i] + (1.0f - options.beta2) * g * g;
      w[i] = w[i] * decay - rate * m[i] / (std::sqrt(v[i]) / correction2 + options.epsilon);
    }
    std::memset(static_cast<std::byte*>(sum.data) + begin * SizeOf(sum.dtype), 0,
                static_cast<size_t>((end - begin) * SizeOf(sum.dtype)));
  });
}

}  // namespace liquid
