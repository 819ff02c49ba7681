#include "kernels/cuda/device/cross_entropy.h"

#include "kernels/cuda/device/eight.cuh"
#include "kernels/cuda/device/launch.cuh"
#include "kernels/cuda/device/warp.cuh"

namespace liquid::cuda {
namespace {

constexpr int kThreads = 512;
constexpr int kFinishThreads = 128;

// A thread's eight columns of a slab of 8 * kThreads: neighbours where they can be read at once,
// otherwise so that a warp's are neighbours.
constexpr int64_t kSlab = int64_t{kThreads} * kEight;
template <bool kAligned>
__device__ __forceinline__ int64_t ColumnOf(int64_t slab, int j) {
  const int64_t thread = threadIdx.x;
  return slab + (kAligned ? thread * kEight + j : int64_t{j} * kThreads + thread);
}

// `cap` 0: none.
__device__ __forceinline__ float Capped(float logit, float cap) {
  return cap > 0 ? cap * tanhf(logit / cap) : logit;
}
// The derivative of Capped, from its result.
__device__ __forceinline__ float SlopeOfCapped(float capped, float cap) {
  const float ratio = cap > 0 ? capped / cap : 0.0f;
  return fmaf(-ratio, ratio, 1.0f);
}

// Capped, and -infinity for columns outside the vocabulary.
template <bool kAligned>
__device__ __forceinline__ void LoadLogits(float (&values)[kEight], const float* row, int64_t slab,
                                           int64_t vocabulary, float cap) {
  if constexpr (kAligned) {  // then eight divides the vocabulary
    const int64_t column = ColumnOf<true>(slab, 0);
    LoadEight(values, row + column, column < vocabulary ? kEight : 0, true);
  } else {
#pragma unroll
    for (int j = 0; j < kEight; ++j) {
      const int64_t column = ColumnOf<false>(slab, j);
      values[j] = column < vocabulary ? row[column] : 0.0f;
    }
  }
#pragma unroll
  for (int j = 0; j < kEight; ++j) {
    values[j] = ColumnOf<kAligned>(slab, j) < vocabulary ? Capped(values[j], cap) : -INFINITY;
  }
}

// e^(from - to) where a sum moves from one shift to another; nothing moves where they are equal.
__device__ __forceinline__ float Rescaled(float from, float to) {
  return from == to ? 1.0f : expf(from - to);
}

// Known to every thread. `scratch` [kThreads / kWarp].
__device__ __forceinline__ float BlockMax(float value, float* scratch) {
  value = WarpMax(value);
  if (threadIdx.x % kWarp == 0) scratch[threadIdx.x / kWarp] = value;
  __syncthreads();
  return WarpMax(threadIdx.x % kWarp < kThreads / kWarp ? scratch[threadIdx.x % kWarp] : -INFINITY);
}

template <bool kAligned>
__global__ void __launch_bounds__(kThreads)
    FindRowEndsKernel(double* ends, float* tops, const float* logits, const int32_t* targets,
                      int64_t vocabulary, float cap, int least_target) {
  __shared__ float max_scratch[kThreads / kWarp];
  __shared__ double sum_scratch[kThreads / kWarp];
  const int64_t row = blockIdx.x;
  const int32_t target = targets[row];
  if (target == kIgnoredTarget) {
    if (threadIdx.x == 0) {
      ends[2 * row] = 0;
      ends[2 * row + 1] = 0;
      tops[row] = 0;
    }
    return;
  }
  if (target < least_target || target >= vocabulary) __trap();
  const float* const from = logits + row * vocabulary;
  float top = -INFINITY;
  float sum = 0;
  for (int64_t slab = 0; slab < vocabulary; slab += kSlab) {
    float v[kEight];
    LoadLogits<kAligned>(v, from, slab, vocabulary, cap);
    float largest = top;
#pragma unroll
    for (int j = 0; j < kEight; ++j) largest = fmaxf(largest, v[j]);
    // A thread without columns keeps a top of -infinity, and a sum of 0.
    const float shift = largest == -INFINITY ? 0.0f : largest;
    float terms = 0;
#pragma unroll
    for (int j = 0; j < kEight; ++j) terms += expf(v[j] - shift);
    sum = sum * Rescaled(top, largest) + terms;
    top = largest;
  }
  const float row_top = BlockMax(top, max_scratch);
  const double row_sum = BlockSum<kThreads>(double{sum * Rescaled(top, row_top)}, sum_scratch);
  if (threadIdx.x == 0) {
    ends[2 * row] = double{row_top} + log(row_sum);
    ends[2 * row + 1] = target == kElsewhere ? 0.0 : double{Capped(from[target], cap)};
    tops[row] = row_top;
  }
}

__global__ void __launch_bounds__(kFinishThreads)
    FinishRowsKernel(float* nll, float* factors, const double* all_ends, const float* tops,
                     const int32_t* targets, int64_t rows, int num_parts, const float* scale) {
  const int64_t row = int64_t{blockIdx.x} * kFinishThreads + threadIdx.x;
  if (row >= rows) return;
  if (targets[row] == kIgnoredTarget) {
    nll[row] = 0;
    factors[row] = 0;
    return;
  }
  double top = all_ends[2 * row];
  for (int part = 1; part < num_parts; ++part) {
    top = fmax(top, all_ends[2 * (part * rows + row)]);
  }
  double sum = 0;
  double at_target = 0;
  for (int part = 0; part < num_parts; ++part) {
    const int64_t at = 2 * (part * rows + row);
    sum += exp(all_ends[at] - top);
    at_target += all_ends[at + 1];
  }
  const double lse = top + log(sum);
  nll[row] = static_cast<float>(lse - at_target);
  factors[row] =
      static_cast<float>(double{scale == nullptr ? 1.0f : *scale} * exp(double{tops[row]} - lse));
}

template <typename T, bool kAligned>
__global__ void __launch_bounds__(kThreads)
    LogitGradientsKernel(T* gradients, const float* logits, const float* tops, const float* factors,
                         const int32_t* targets, int64_t vocabulary, float cap,
                         const float* scale) {
  const int64_t row = blockIdx.x;
  const float at_target = *scale;
  const int32_t target = targets[row];
  const float top = tops[row];
  const float factor = factors[row];
  const float* const from = logits + row * vocabulary;
  T* const to = gradients + row * vocabulary;
  for (int64_t slab = 0; slab < vocabulary; slab += kSlab) {
    float v[kEight] = {};
    if (target != kIgnoredTarget) {
      LoadLogits<kAligned>(v, from, slab, vocabulary, cap);
#pragma unroll
      for (int j = 0; j < kEight; ++j) {
        const float slope = SlopeOfCapped(v[j], cap);
        v[j] = expf(v[j] - top) * factor;
        if (ColumnOf<kAligned>(slab, j) == target) v[j] -= at_target;
        v[j] *= slope;
      }
    }
    if constexpr (kAligned) {
      const int64_t column = ColumnOf<true>(slab, 0);
      if (column < vocabulary) StoreEight(to + column, v, kEight, true);
    } else {
#pragma unroll
      for (int j = 0; j < kEight; ++j) {
        const int64_t column = ColumnOf<false>(slab, j);
        if (column < vocabulary) Narrow(to[column], v[j]);
      }
    }
  }
}

}  // namespace

cudaError_t FindRowEnds(cudaStream_t stream, double* ends, float* tops, const float* logits,
                        const int32_t* targets, int64_t rows, int64_t vocabulary, float cap,
                        bool is_part) {
  if (rows == 0) return cudaSuccess;
  const bool aligned = vocabulary % kEight == 0 && AreAligned(logits);
  return Launch(stream, dim3(static_cast<unsigned>(rows)), kThreads, 0,
                aligned ? FindRowEndsKernel<true> : FindRowEndsKernel<false>, ends, tops, logits,
                targets, vocabulary, cap, is_part ? kElsewhere : 0);
}

cudaError_t FinishRows(cudaStream_t stream, float* nll, float* factors, const double* all_ends,
                       const float* tops, const int32_t* targets, int64_t rows, int num_parts,
                       const float* scale) {
  if (rows == 0) return cudaSuccess;
  return Launch(stream, dim3(static_cast<unsigned>(CeilDivide(rows, kFinishThreads))),
                kFinishThreads, 0, FinishRowsKernel, nll, factors, all_ends, tops, targets, rows,
                num_parts, scale);
}

cudaError_t LogitGradients(cudaStream_t stream, void* gradients, Element element,
                           const float* logits, const float* tops, const float* factors,
                           const int32_t* targets, int64_t rows, int64_t vocabulary, float cap,
                           const float* scale) {
  if (rows == 0) return cudaSuccess;
  const bool aligned = vocabulary % kEight == 0 && AreAligned(gradients, logits);
  return WithElement(element, [&](auto type) {
    using T = decltype(type);
    return Launch(stream, dim3(static_cast<unsigned>(rows)), kThreads, 0,
                  aligned ? LogitGradientsKernel<T, true> : LogitGradientsKernel<T, false>,
                  static_cast<T*>(gradients), logits, tops, factors, targets, vocabulary, cap,
                  scale);
  });
}

}  // namespace liquid::cuda
