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

// What ranks tell each other of a row: kernels/cuda/device/cross_entropy.h.
constexpr int kEnds = 2;
constexpr int kEndsWithTop = 4;

template <bool kAligned, bool kFindsTop>
__global__ void __launch_bounds__(kThreads)
    FindRowEndsKernel(double* ends, float* tops, const float* logits, const int32_t* targets,
                      int64_t vocabulary, float cap, int least_target) {
  __shared__ float max_scratch[kThreads / kWarp];
  __shared__ double sum_scratch[kThreads / kWarp];
  constexpr int kWidth = kFindsTop ? kEndsWithTop : kEnds;
  const int64_t row = blockIdx.x;
  const int32_t target = targets[row];
  double* const of_row = ends + kWidth * row;
  if (target == kIgnoredTarget) {
    if (threadIdx.x == 0) {
      for (int i = 0; i < kWidth; ++i) of_row[i] = 0;
      tops[row] = 0;
    }
    return;
  }
  if (target < least_target || target >= vocabulary) __trap();
  const float* const from = logits + row * vocabulary;
  const float at_target = target == kElsewhere ? 0.0f : Capped(from[target], cap);
  bool is_beaten = target == kElsewhere;
  float top = -INFINITY;
  float sum = 0;
  for (int64_t slab = 0; slab < vocabulary; slab += kSlab) {
    float v[kEight];
    LoadLogits<kAligned>(v, from, slab, vocabulary, cap);
    float largest = top;
#pragma unroll
    for (int j = 0; j < kEight; ++j) largest = fmaxf(largest, v[j]);
    if constexpr (kFindsTop) {
#pragma unroll
      for (int j = 0; j < kEight; ++j) {
        const int64_t column = ColumnOf<kAligned>(slab, j);
        is_beaten |= column < target ? v[j] >= at_target : column > target && v[j] > at_target;
      }
    }
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
  if constexpr (kFindsTop) {
    const bool is_top = __syncthreads_or(is_beaten ? 1 : 0) == 0;
    if (threadIdx.x == 0) {
      of_row[2] = double{row_top};
      of_row[3] = is_top ? 1.0 : 0.0;
    }
  }
  if (threadIdx.x == 0) {
    of_row[0] = double{row_top} + log(row_sum);
    of_row[1] = double{at_target};
    tops[row] = row_top;
  }
}

__global__ void __launch_bounds__(kFinishThreads)
    FinishRowsKernel(float* nll, float* scales, float* factors, int32_t* correct,
                     const double* all_ends, const float* tops, const int32_t* targets,
                     const float* token_weights, int64_t rows, int num_parts, const float* scale) {
  const int64_t row = int64_t{blockIdx.x} * kFinishThreads + threadIdx.x;
  if (row >= rows) return;
  if (targets[row] == kIgnoredTarget) {
    nll[row] = 0;
    scales[row] = 0;
    factors[row] = 0;
    if (correct != nullptr) correct[row] = 0;
    return;
  }
  const int width = correct == nullptr ? kEnds : kEndsWithTop;
  const double* const first = all_ends + width * row;
  const int64_t stride = width * rows;  // between parts
  double top = first[0];
  for (int part = 1; part < num_parts; ++part) top = fmax(top, first[part * stride]);
  double sum = 0;
  double at_target = 0;
  for (int part = 0; part < num_parts; ++part) {
    sum += exp(first[part * stride] - top);
    at_target += first[part * stride + 1];
  }
  const double lse = top + log(sum);
  nll[row] = static_cast<float>(lse - at_target);
  float row_scale = scale == nullptr ? 1.0f : *scale;
  if (token_weights != nullptr) row_scale *= token_weights[row];
  scales[row] = row_scale;
  factors[row] = static_cast<float>(double{row_scale} * exp(double{tops[row]} - lse));
  if (correct == nullptr) return;
  int likeliest = 0;  // the part with the largest logit; of equal ones, the first
  for (int part = 1; part < num_parts; ++part) {
    if (first[part * stride + 2] > first[likeliest * stride + 2]) likeliest = part;
  }
  correct[row] = first[likeliest * stride + 3] == 1.0 ? 1 : 0;
}

template <typename T, bool kAligned>
__global__ void __launch_bounds__(kThreads)
    LogitGradientsKernel(T* gradients, const float* logits, const float* tops, const float* scales,
                         const float* factors, const int32_t* targets, int64_t vocabulary,
                         float cap) {
  const int64_t row = blockIdx.x;
  const float at_target = scales[row];
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
                        bool is_part, bool find_top) {
  if (rows == 0) return cudaSuccess;
  const bool aligned = vocabulary % kEight == 0 && AreAligned(logits);
  const auto kernel =
      find_top ? (aligned ? FindRowEndsKernel<true, true> : FindRowEndsKernel<false, true>)
               : (aligned ? FindRowEndsKernel<true, false> : FindRowEndsKernel<false, false>);
  return Launch(stream, dim3(static_cast<unsigned>(rows)), kThreads, 0, kernel, ends, tops, logits,
                targets, vocabulary, cap, is_part ? kElsewhere : 0);
}

cudaError_t FinishRows(cudaStream_t stream, float* nll, float* scales, float* factors,
                       int32_t* correct, const double* all_ends, const float* tops,
                       const int32_t* targets, const float* token_weights, int64_t rows,
                       int num_parts, const float* scale) {
  if (rows == 0) return cudaSuccess;
  return Launch(stream, dim3(static_cast<unsigned>(CeilDivide(rows, kFinishThreads))),
                kFinishThreads, 0, FinishRowsKernel, nll, scales, factors, correct, all_ends, tops,
                targets, token_weights, rows, num_parts, scale);
}

cudaError_t LogitGradients(cudaStream_t stream, void* gradients, Element element,
                           const float* logits, const float* tops, const float* scales,
                           const float* factors, const int32_t* targets, int64_t rows,
                           int64_t vocabulary, float cap) {
  if (rows == 0) return cudaSuccess;
  const bool aligned = vocabulary % kEight == 0 && AreAligned(gradients, logits);
  return WithElement(element, [&](auto type) {
    using T = decltype(type);
    return Launch(stream, dim3(static_cast<unsigned>(rows)), kThreads, 0,
                  aligned ? LogitGradientsKernel<T, true> : LogitGradientsKernel<T, false>,
                  static_cast<T*>(gradients), logits, tops, scales, factors, targets, vocabulary,
                  cap);
  });
}

}  // namespace liquid::cuda
