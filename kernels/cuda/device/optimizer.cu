#include "kernels/cuda/device/optimizer.h"

#include <algorithm>
#include <cfloat>

#include "kernels/cuda/device/grid.cuh"
#include "kernels/cuda/device/launch.cuh"
#include "kernels/cuda/device/vector.cuh"
#include "kernels/cuda/device/warp.cuh"

namespace liquid::cuda {
namespace {

constexpr double kOne = 1125899906842624.0;  // 2^50, the unit of the fixed point

// The value of a sum as a float.
__device__ __forceinline__ float ValueOf(int64_t fixed) {
  return static_cast<float>(static_cast<double>(fixed) * (1.0 / kOne));
}
__device__ __forceinline__ float ValueOf(float value) { return value; }

struct FixedRule {
  int64_t limit;
  float bound;
  // Not finite adds nothing.
  __device__ int64_t operator()(int64_t sum, float gradient, bool* is_bad) const {
    if (fabsf(gradient) <= bound) return sum + llrint(static_cast<double>(gradient) * kOne);
    *is_bad = true;
    if (!(fabsf(gradient) <= FLT_MAX)) return sum;
    return gradient > 0 ? sum + limit : sum - limit;
  }
};

struct FloatRule {
  __device__ float operator()(float sum, float gradient, bool* is_bad) const {
    *is_bad |= !(fabsf(gradient) <= FLT_MAX);
    return sum + gradient;
  }
};

template <int kCount, typename Sum, typename Rule>
__global__ __launch_bounds__(kThreads) void AccumulateKernel(Sum* __restrict__ sum,
                                                             const float* __restrict__ gradient,
                                                             Rule rule, int32_t* flag,
                                                             int64_t count) {
  bool is_bad = false;
  for (int64_t item = FirstItem(); item < count / kCount; item += ItemStride()) {
    auto& place = reinterpret_cast<Pack<Sum, kCount>*>(sum)[item];
    Pack<Sum, kCount> sums = place;
    const auto gradients = reinterpret_cast<const Pack<float, kCount>*>(gradient)[item];
#pragma unroll
    for (int i = 0; i < kCount; ++i) sums.at[i] = rule(sums.at[i], gradients.at[i], &is_bad);
    place = sums;
  }
  for (int64_t i = count / kCount * kCount + FirstItem(); i < count; i += ItemStride()) {
    sum[i] = rule(sum[i], gradient[i], &is_bad);
  }
  if (is_bad) atomicOr(flag, 1);
}

template <typename Sum, typename Rule>
cudaError_t Accumulate(cudaStream_t stream, Sum* sum, const float* gradient, Rule rule,
                       int32_t* flag, int64_t count) {
  constexpr int kCount = 16 / sizeof(Sum);
  if (IsAligned(sum) && IsAligned(gradient, kCount * sizeof(float))) {
    return Launch(stream, GridFor(count / kCount), kThreads, 0, AccumulateKernel<kCount, Sum, Rule>,
                  sum, gradient, rule, flag, count);
  }
  return Launch(stream, GridFor(count), kThreads, 0, AccumulateKernel<1, Sum, Rule>, sum, gradient,
                rule, flag, count);
}

template <typename Sum>
__global__ __launch_bounds__(kThreads) void SquaresKernel(double* __restrict__ chunks,
                                                          const Sum* __restrict__ x,
                                                          int64_t count) {
  const int64_t num_chunks = (count + kSquaresChunk - 1) / kSquaresChunk;
  const int64_t warps = ItemStride() / kWarp;
  for (int64_t chunk = FirstItem() / kWarp; chunk < num_chunks; chunk += warps) {
    const int64_t end = (chunk + 1) * kSquaresChunk < count ? (chunk + 1) * kSquaresChunk : count;
    double sum = 0;
    for (int64_t i = chunk * kSquaresChunk + threadIdx.x % kWarp; i < end; i += kWarp) {
      const auto value = static_cast<double>(ValueOf(x[i]));
      sum += value * value;
    }
    sum = WarpSum(sum);
    if (threadIdx.x % kWarp == 0) chunks[chunk] = sum;
  }
}

template <typename Sum>
cudaError_t SumOfSquares(cudaStream_t stream, double* chunks, const Sum* x, int64_t count) {
  const int64_t num_chunks = (count + kSquaresChunk - 1) / kSquaresChunk;
  return Launch(stream, GridFor(num_chunks * kWarp), kThreads, 0, SquaresKernel<Sum>, chunks, x,
                count);
}

__device__ __forceinline__ void Update(float* weight, float* exp_avg, float* exp_avg_sq,
                                       float gradient, const AdamWCoefficients& c) {
  const float g = gradient * c.gradient_scale;
  const float m = c.beta1 * *exp_avg + (1.0f - c.beta1) * g;
  const float v = c.beta2 * *exp_avg_sq + (1.0f - c.beta2) * g * g;
  *exp_avg = m;
  *exp_avg_sq = v;
  *weight = *weight * c.decay - c.rate * m / (sqrtf(v) * c.second_factor + c.epsilon);
}

template <int kCount, typename Sum>
__global__ __launch_bounds__(kThreads) void AdamWKernel(float* __restrict__ weight,
                                                        float* __restrict__ exp_avg,
                                                        float* __restrict__ exp_avg_sq,
                                                        Sum* __restrict__ sum, AdamWCoefficients c,
                                                        int64_t count) {
  using Floats = Pack<float, kCount>;
  using Sums = Pack<Sum, kCount>;
  for (int64_t item = FirstItem(); item < count / kCount; item += ItemStride()) {
    Floats w = reinterpret_cast<Floats*>(weight)[item];
    Floats m = reinterpret_cast<Floats*>(exp_avg)[item];
    Floats v = reinterpret_cast<Floats*>(exp_avg_sq)[item];
    Sums s = reinterpret_cast<Sums*>(sum)[item];
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      Update(&w.at[i], &m.at[i], &v.at[i], ValueOf(s.at[i]), c);
      s.at[i] = 0;
    }
    reinterpret_cast<Floats*>(weight)[item] = w;
    reinterpret_cast<Floats*>(exp_avg)[item] = m;
    reinterpret_cast<Floats*>(exp_avg_sq)[item] = v;
    reinterpret_cast<Sums*>(sum)[item] = s;
  }
  for (int64_t i = count / kCount * kCount + FirstItem(); i < count; i += ItemStride()) {
    Update(weight + i, exp_avg + i, exp_avg_sq + i, ValueOf(sum[i]), c);
    sum[i] = 0;
  }
}

template <typename Sum>
cudaError_t AdamW(cudaStream_t stream, float* weight, float* exp_avg, float* exp_avg_sq, Sum* sum,
                  const AdamWCoefficients& coefficients, int64_t count) {
  constexpr int kCount = 16 / sizeof(Sum);
  constexpr size_t kFloatBytes = kCount * sizeof(float);
  if (IsAligned(weight, kFloatBytes) && IsAligned(exp_avg, kFloatBytes) &&
      IsAligned(exp_avg_sq, kFloatBytes) && IsAligned(sum)) {
    return Launch(stream, GridFor(count / kCount), kThreads, 0, AdamWKernel<kCount, Sum>, weight,
                  exp_avg, exp_avg_sq, sum, coefficients, count);
  }
  return Launch(stream, GridFor(count), kThreads, 0, AdamWKernel<1, Sum>, weight, exp_avg,
                exp_avg_sq, sum, coefficients, count);
}

}  // namespace

cudaError_t AccumulateFixed(cudaStream_t stream, int64_t* sum, const float* gradient, int64_t limit,
                            float bound, int32_t* flag, int64_t count) {
  return Accumulate(stream, sum, gradient, FixedRule{limit, bound}, flag, count);
}
cudaError_t AccumulateFloat(cudaStream_t stream, float* sum, const float* gradient, int32_t* flag,
                            int64_t count) {
  return Accumulate(stream, sum, gradient, FloatRule{}, flag, count);
}

cudaError_t SumOfSquaresFixed(cudaStream_t stream, double* chunks, const int64_t* x,
                              int64_t count) {
  return SumOfSquares(stream, chunks, x, count);
}
cudaError_t SumOfSquaresFloat(cudaStream_t stream, double* chunks, const float* x, int64_t count) {
  return SumOfSquares(stream, chunks, x, count);
}

cudaError_t AdamWFixed(cudaStream_t stream, float* weight, float* exp_avg, float* exp_avg_sq,
                       int64_t* sum, const AdamWCoefficients& coefficients, int64_t count) {
  return AdamW(stream, weight, exp_avg, exp_avg_sq, sum, coefficients, count);
}
cudaError_t AdamWFloat(cudaStream_t stream, float* weight, float* exp_avg, float* exp_avg_sq,
                       float* sum, const AdamWCoefficients& coefficients, int64_t count) {
  return AdamW(stream, weight, exp_avg, exp_avg_sq, sum, coefficients, count);
}

}  // namespace liquid::cuda
