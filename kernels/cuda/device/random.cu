#include "kernels/cuda/device/random.h"

#include "kernels/cuda/device/grid.cuh"
#include "kernels/cuda/device/launch.cuh"
#include "kernels/cuda/device/vector.cuh"

namespace liquid::cuda {
namespace {

struct Words {
  uint32_t at[4];
};

// Philox4x32 with 10 rounds (base/random.h).
__device__ __forceinline__ Words Philox(Words counter, uint32_t key_low, uint32_t key_high) {
#pragma unroll
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53} * counter.at[0];
    const uint64_t b = uint64_t{0xCD9E8D57} * counter.at[2];
    counter = {{static_cast<uint32_t>(b >> 32) ^ counter.at[1] ^ key_low, static_cast<uint32_t>(b),
                static_cast<uint32_t>(a >> 32) ^ counter.at[3] ^ key_high,
                static_cast<uint32_t>(a)}};
    key_low += 0x9E3779B9;
    key_high += 0xBB67AE85;
  }
  return counter;
}

// out = function(x, bits). A thread has the channels of one counter: up to four.
template <typename T, typename Function>
__device__ __forceinline__ void MapRandom(T* out, const T* x, const int32_t* __restrict__ row_keys,
                                          const RandomShape& shape, const Function& function) {
  const int64_t first_group = shape.first_channel / 4;
  const int64_t groups = (shape.first_channel + shape.width + 3) / 4 - first_group;
  for (int64_t item = FirstItem(); item < shape.tokens * groups; item += ItemStride()) {
    const int64_t token = item / groups;
    const int64_t group = first_group + item % groups;
    const int64_t in_batch = shape.first_token + token;
    const int32_t* key = row_keys + in_batch / shape.tokens_per_row * 2;
    const Words bits =
        Philox({{static_cast<uint32_t>(group),
                 static_cast<uint32_t>(in_batch % shape.tokens_per_row), shape.stream, 0}},
               static_cast<uint32_t>(key[0]), static_cast<uint32_t>(key[1]));
#pragma unroll
    for (int word = 0; word < 4; ++word) {
      const int64_t channel = group * 4 + word - shape.first_channel;
      if (channel < 0 || channel >= shape.width) continue;
      const int64_t i = token * shape.width + channel;
      out[i] = FromFloat<T>(function(Widen(x[i]), bits.at[word]));
    }
  }
}

template <typename T>
__global__ __launch_bounds__(kThreads) void DropoutKernel(T* out, const T* x,
                                                          const int32_t* row_keys,
                                                          uint32_t threshold, float scale,
                                                          RandomShape shape) {
  MapRandom(out, x, row_keys, shape, [threshold, scale](float value, uint32_t bits) {
    return bits < threshold ? 0.0f : value * scale;
  });
}

template <typename T>
__global__ __launch_bounds__(kThreads) void NoiseKernel(T* out, const T* x, const int32_t* row_keys,
                                                        float magnitude, RandomShape shape) {
  MapRandom(out, x, row_keys, shape, [magnitude](float value, uint32_t bits) {
    return value + magnitude * ((static_cast<float>(bits >> 9) + 0.5f) * 0x1p-22f - 1);
  });
}

dim3 GridOf(const RandomShape& shape) { return GridFor(shape.tokens * (shape.width / 4 + 2)); }

}  // namespace

cudaError_t Dropout(cudaStream_t stream, Element element, void* out, const void* x,
                    const int32_t* row_keys, uint32_t threshold, float scale,
                    const RandomShape& shape) {
  return WithElement(element, [&](auto type) {
    using T = decltype(type);
    return Launch(stream, GridOf(shape), kThreads, 0, DropoutKernel<T>, static_cast<T*>(out),
                  static_cast<const T*>(x), row_keys, threshold, scale, shape);
  });
}

cudaError_t AddNoise(cudaStream_t stream, Element element, void* out, const void* x,
                     const int32_t* row_keys, float magnitude, const RandomShape& shape) {
  return WithElement(element, [&](auto type) {
    using T = decltype(type);
    return Launch(stream, GridOf(shape), kThreads, 0, NoiseKernel<T>, static_cast<T*>(out),
                  static_cast<const T*>(x), row_keys, magnitude, shape);
  });
}

}  // namespace liquid::cuda
