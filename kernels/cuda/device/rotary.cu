#include "kernels/cuda/device/rotary.h"

#include <algorithm>

#include "kernels/cuda/device/eight.cuh"
#include "kernels/cuda/device/launch.cuh"
#include "kernels/cuda/device/warp.cuh"

namespace liquid::cuda {
namespace {

constexpr int kMostThreads = 256;

// A block per token. Threads take eight pairs at a time, head after head, so that the tables are
// read from memory once per token.
template <typename T>
__global__ void __launch_bounds__(kMostThreads)
    RotaryKernel(T* out, const T* x, const float* cos, const float* sin, const int32_t* positions,
                 int heads, int half, int64_t num_positions, float sign, bool aligned) {
  const int64_t token = blockIdx.x;
  const int64_t position = positions[token];
  if (position < 0 || position >= num_positions) __trap();
  const int groups = (half + kEight - 1) / kEight;  // of a head
  for (int i = static_cast<int>(threadIdx.x); i < heads * groups; i += blockDim.x) {
    const int head = i / groups;
    const int pair = (i - head * groups) * kEight;
    const int count = half - pair;
    const int64_t at = (token * heads + head) * 2 * half + pair;
    float c[kEight];
    float s[kEight];
    float low[kEight];
    float high[kEight];
    LoadEight(c, cos + position * half + pair, count, aligned);
    LoadEight(s, sin + position * half + pair, count, aligned);
    LoadEight(low, x + at, count, aligned);
    LoadEight(high, x + at + half, count, aligned);
#pragma unroll
    for (int j = 0; j < kEight; ++j) {
      const float turned = sign * s[j];
      const float was_low = low[j];
      low[j] = was_low * c[j] - high[j] * turned;
      high[j] = high[j] * c[j] + was_low * turned;
    }
    StoreEight(out + at, low, count, aligned);
    StoreEight(out + at + half, high, count, aligned);
  }
}

}  // namespace

cudaError_t Rotary(cudaStream_t stream, void* out, const void* x, const float* cos,
                   const float* sin, const int32_t* positions, Element element, int64_t tokens,
                   int64_t heads, int64_t width, int64_t num_positions, bool inverse) {
  const int64_t half = width / 2;
  if (tokens * heads * half == 0) return cudaSuccess;
  const int64_t work = CeilDivide(heads * CeilDivide(half, kEight), kWarp) * kWarp;
  const int threads = static_cast<int>(std::min<int64_t>(work, kMostThreads));
  const bool aligned = half % kEight == 0 && AreAligned(out, x, cos, sin);
  return WithElement(element, [&](auto type) {
    using T = decltype(type);
    return Launch(stream, dim3(static_cast<unsigned>(tokens)), threads, 0, RotaryKernel<T>,
                  static_cast<T*>(out), static_cast<const T*>(x), cos, sin, positions,
                  static_cast<int>(heads), static_cast<int>(half), num_positions,
                  inverse ? -1.0f : 1.0f, aligned);
  });
}

}  // namespace liquid::cuda
