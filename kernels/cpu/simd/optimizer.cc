#include "kernels/cpu/simd/functions.h"
#include "kernels/cpu/simd/vector.h"

namespace liquid::LIQUID_ISA {
namespace {

constexpr double kOne = 1125899906842624.0;  // 2^50, the unit of the fixed point

inline float FromFixed(int64_t x) {
  return static_cast<float>(static_cast<double>(x) * (1.0 / kOne));
}

// The largest float whose fixed point does not exceed `limit`.
float LargestWithin(int64_t limit) {
  const auto rounded = static_cast<float>(static_cast<double>(limit) / kOne);
  if (static_cast<int64_t>(static_cast<double>(rounded) * kOne) <= limit) return rounded;
  uint32_t bits;
  __builtin_memcpy(&bits, &rounded, sizeof(bits));
  --bits;
  float below;
  __builtin_memcpy(&below, &bits, sizeof(below));
  return below;
}

// One by one, for the runs in which something does not fit.
void AccumulateWithClamp(int64_t* sum, const float* gradient, int64_t limit, float bound,
                         int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    if (__builtin_fabsf(gradient[i]) <= bound) {
      sum[i] += __builtin_llrint(static_cast<double>(gradient[i]) * kOne);
    } else if (__builtin_isfinite(gradient[i])) {
      sum[i] += gradient[i] > 0 ? limit : -limit;
    }
  }
}

inline void Update(float* weight, float* exp_avg, float* exp_avg_sq, float gradient,
                   const AdamWCoefficients& c) {
  const float g = gradient * c.gradient_scale;
  const float m = c.beta1 * *exp_avg + (1.0f - c.beta1) * g;
  const float v = c.beta2 * *exp_avg_sq + (1.0f - c.beta2) * g * g;
  *exp_avg = m;
  *exp_avg_sq = v;
  *weight = *weight * c.decay - c.rate * m / (__builtin_sqrtf(v) * c.second_factor + c.epsilon);
}

}  // namespace

bool AccumulateFixed(int64_t* __restrict sum, const float* __restrict gradient, int64_t limit,
                     int64_t count) {
  constexpr int64_t kRun = 512;
  const float bound = LargestWithin(limit);
  bool flagged = false;
  for (int64_t begin = 0; begin < count; begin += kRun) {
    const int64_t end = Min(count, begin + kRun);
    int32_t too_large = 0;
    for (int64_t i = begin; i < end; ++i) {
      too_large |= static_cast<int32_t>(!(__builtin_fabsf(gradient[i]) <= bound));
    }
    if (too_large != 0) [[unlikely]] {
      flagged = true;
      AccumulateWithClamp(sum + begin, gradient + begin, limit, bound, end - begin);
      continue;
    }
    for (int64_t i = begin; i < end; ++i) {
      sum[i] += __builtin_llrint(static_cast<double>(gradient[i]) * kOne);
    }
  }
  return flagged;
}

bool AccumulateFloat(float* __restrict sum, const float* __restrict gradient, int64_t count) {
  int32_t bad = 0;
  for (int64_t i = 0; i < count; ++i) {
    bad |= static_cast<int32_t>(!(__builtin_fabsf(gradient[i]) <= __FLT_MAX__));
    sum[i] += gradient[i];
  }
  return bad != 0;
}

namespace {

// Sixteen running sums, so that the order does not depend on how the compiler vectorises.
template <typename Read>
double SumOfSquares(int64_t count, const Read& read) {
  constexpr int64_t kSums = 16;
  double sums[kSums] = {};
  int64_t i = 0;
  for (; i + kSums <= count; i += kSums) {
    for (int64_t lane = 0; lane < kSums; ++lane) {
      const auto value = static_cast<double>(read(i + lane));
      sums[lane] += value * value;
    }
  }
  for (; i < count; ++i) {
    const auto value = static_cast<double>(read(i));
    sums[i % kSums] += value * value;
  }
  for (int64_t width = kSums / 2; width > 0; width /= 2) {
    for (int64_t lane = 0; lane < width; ++lane) sums[lane] += sums[lane + width];
  }
  return sums[0];
}

}  // namespace

double SumOfSquaresFixed(const int64_t* x, int64_t count) {
  return SumOfSquares(count, [x](int64_t i) { return FromFixed(x[i]); });
}

double SumOfSquaresFloat(const float* x, int64_t count) {
  return SumOfSquares(count, [x](int64_t i) { return x[i]; });
}

void AdamWFixed(float* __restrict weight, float* __restrict exp_avg, float* __restrict exp_avg_sq,
                int64_t* __restrict sum, const AdamWCoefficients& c, int64_t count) {
  const AdamWCoefficients k = c;
  for (int64_t i = 0; i < count; ++i) {
    Update(weight + i, exp_avg + i, exp_avg_sq + i, FromFixed(sum[i]), k);
    sum[i] = 0;
  }
}

void AdamWFloat(float* __restrict weight, float* __restrict exp_avg, float* __restrict exp_avg_sq,
                float* __restrict sum, const AdamWCoefficients& c, int64_t count) {
  const AdamWCoefficients k = c;
  for (int64_t i = 0; i < count; ++i) {
    Update(weight + i, exp_avg + i, exp_avg_sq + i, sum[i], k);
    sum[i] = 0;
  }
}

}  // namespace liquid::LIQUID_ISA
