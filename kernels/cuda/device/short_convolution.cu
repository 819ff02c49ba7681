#include "kernels/cuda/device/short_convolution.h"

#include "kernels/cuda/device/launch.cuh"
#include "kernels/cuda/device/vector.cuh"

namespace liquid::cuda {
namespace {

constexpr int kThreads = 128;

// Channels that a thread has in each token of a chunk, through which it walks: 16 bytes, but no
// more than its registers hold for so many taps. What taps reach beside a chunk is read a second
// time.
template <typename T, int kTaps>
constexpr int kChannels = kTaps <= 4 ? 16 / static_cast<int>(sizeof(T)) : 4;

// Those of tokens in a row; [0] is the token at hand.
template <int kTaps, int kCount>
using Window = float[kTaps][kCount];

struct Walk {
  int64_t tokens;
  int64_t width;
  int64_t packs;  // of a token
  int taps;
  bool aligned;
};

// A thread's part of a walk.
struct Place {
  int64_t begin;
  int64_t end;
  int64_t channel;
  int64_t count;  // of channels up to the last
};

template <int kCount>
__device__ __forceinline__ Place PlaceOf(const Walk& walk) {
  const int64_t item = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  const int64_t begin = item / walk.packs * kConvolutionChunk;
  const int64_t channel = item % walk.packs * kCount;
  return {begin, min(walk.tokens, begin + kConvolutionChunk), channel, walk.width - channel};
}

// values = from[0 .. count), and zeros behind.
template <typename T, int kCount>
__device__ __forceinline__ void Load(float (&values)[kCount], const T* from, int64_t count,
                                     bool aligned) {
  if (aligned) {
    const auto pack = *reinterpret_cast<const Pack<T, kCount>*>(from);
#pragma unroll
    for (int i = 0; i < kCount; ++i) values[i] = Widen(pack.at[i]);
    return;
  }
#pragma unroll
  for (int i = 0; i < kCount; ++i) values[i] = i < count ? Widen(from[i]) : 0.0f;
}

// to[0 .. count) = values, rounded once.
template <typename T, int kCount>
__device__ __forceinline__ void Store(T* to, const float (&values)[kCount], int64_t count,
                                      bool aligned) {
  if (aligned) {
    constexpr int kSize = kCount < Pack<T>::kSize ? kCount : Pack<T>::kSize;
#pragma unroll
    for (int i = 0; i < kCount; i += kSize) {
      Pack<T, kSize> pack;
#pragma unroll
      for (int j = 0; j < kSize; ++j) pack.at[j] = FromFloat<T>(values[i + j]);
      *reinterpret_cast<Pack<T, kSize>*>(to + i) = pack;
    }
    return;
  }
#pragma unroll
  for (int i = 0; i < kCount; ++i) {
    if (i < count) Narrow(to[i], values[i]);
  }
}

template <typename T, int kCount>
__device__ __forceinline__ void LoadProduct(float (&product)[kCount], const T* a, const T* b,
                                            int64_t count, bool aligned) {
  float factor[kCount];
  Load(product, a, count, aligned);
  Load(factor, b, count, aligned);
#pragma unroll
  for (int i = 0; i < kCount; ++i) product[i] *= factor[i];
}

// weights[lag]: of what lies `lag` tokens back.
template <typename T, int kTaps, int kCount>
__device__ __forceinline__ void LoadWeights(Window<kTaps, kCount>& weights, const T* weight,
                                            const Place& place, int taps) {
#pragma unroll
  for (int lag = 0; lag < kTaps; ++lag) {
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      const bool is_there = lag < taps && i < place.count;
      const int64_t at = (place.channel + i) * taps + taps - 1 - lag;
      weights[lag][i] = is_there ? Widen(weight[at]) : 0.0f;
    }
  }
}

// The largest lag that a token sees.
__device__ __forceinline__ int Reach(const int32_t* positions, int64_t token, int taps) {
  return min(positions[token], taps - 1);
}

// Makes room for the next token at [0], or for one more behind.
template <int kTaps, int kCount>
__device__ __forceinline__ void Age(Window<kTaps, kCount>& window) {
#pragma unroll
  for (int lag = kTaps - 1; lag > 0; --lag) {
#pragma unroll
    for (int i = 0; i < kCount; ++i) window[lag][i] = window[lag - 1][i];
  }
}
template <int kTaps, int kCount>
__device__ __forceinline__ void Approach(Window<kTaps, kCount>& window) {
#pragma unroll
  for (int lag = 0; lag < kTaps - 1; ++lag) {
#pragma unroll
    for (int i = 0; i < kCount; ++i) window[lag][i] = window[lag + 1][i];
  }
}

// sum = weights * z, as far as `reach`.
template <int kTaps, int kCount>
__device__ __forceinline__ void Convolve(float (&sum)[kCount], const Window<kTaps, kCount>& weights,
                                         const Window<kTaps, kCount>& z, int reach) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) sum[i] = 0;
#pragma unroll
  for (int lag = kTaps - 1; lag >= 0; --lag) {
    if (lag > reach) continue;
#pragma unroll
    for (int i = 0; i < kCount; ++i) sum[i] = fmaf(weights[lag][i], z[lag][i], sum[i]);
  }
}

template <typename T, int kTaps>
__global__ void __launch_bounds__(kThreads)
    ShortConvolutionKernel(T* out, const T* in, const T* weight, const int32_t* positions,
                           Walk walk) {
  constexpr int kCount = kChannels<T, kTaps>;
  const Place place = PlaceOf<kCount>(walk);
  if (place.begin >= walk.tokens) return;
  Window<kTaps, kCount> weights;
  LoadWeights(weights, weight, place, walk.taps);
  Window<kTaps, kCount> z = {};
  for (int64_t token = max(int64_t{0}, place.begin - (kTaps - 1)); token < place.end; ++token) {
    const T* const b = in + token * 3 * walk.width + place.channel;
    Age(z);
    LoadProduct(z[0], b, b + 2 * walk.width, place.count, walk.aligned);
    if (token < place.begin) continue;
    float c[kCount];
    float sum[kCount];
    Load(c, b + walk.width, place.count, walk.aligned);
    Convolve(sum, weights, z, Reach(positions, token, walk.taps));
#pragma unroll
    for (int i = 0; i < kCount; ++i) sum[i] *= c[i];
    Store(out + token * walk.width + place.channel, sum, place.count, walk.aligned);
  }
}

// Of the token at hand and of those that follow.
template <int kTaps, int kCount>
struct Following {
  Window<kTaps, kCount> dsum = {};  // gradients of the sums over taps
  int reach[kTaps] = {};            // -1: there is no such token
};

// The next token is at hand.
template <typename T, int kTaps, int kCount>
__device__ __forceinline__ void Proceed(Following<kTaps, kCount>& following, const T* dout,
                                        const T* in, const int32_t* positions, int64_t token,
                                        const Place& place, const Walk& walk) {
  constexpr int kLast = kTaps - 1;
  const int64_t last = token + kLast;
  Approach(following.dsum);
#pragma unroll
  for (int lag = 0; lag < kLast; ++lag) following.reach[lag] = following.reach[lag + 1];
  following.reach[kLast] = last < walk.tokens ? Reach(positions, last, walk.taps) : -1;
  if (last >= walk.tokens) return;
  LoadProduct(following.dsum[kLast], dout + last * walk.width + place.channel,
              in + (last * 3 + 1) * walk.width + place.channel, place.count, walk.aligned);
}

// dweights += dsum z, as far as `reach`.
template <int kTaps, int kCount>
__device__ __forceinline__ void AddProducts(Window<kTaps, kCount>& dweights,
                                            const float (&dsum)[kCount],
                                            const Window<kTaps, kCount>& z, int reach) {
#pragma unroll
  for (int lag = 0; lag < kTaps; ++lag) {
    if (lag > reach) continue;
#pragma unroll
    for (int i = 0; i < kCount; ++i) dweights[lag][i] = fmaf(dsum[i], z[lag][i], dweights[lag][i]);
  }
}

// dz of the token at hand, from those tokens that see it.
template <int kTaps, int kCount>
__device__ __forceinline__ void ConvolveBack(float (&dz)[kCount],
                                             const Window<kTaps, kCount>& weights,
                                             const Following<kTaps, kCount>& following) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) dz[i] = 0;
#pragma unroll
  for (int lag = 0; lag < kTaps; ++lag) {
    if (lag > following.reach[lag]) continue;
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      dz[i] = fmaf(weights[lag][i], following.dsum[lag][i], dz[i]);
    }
  }
}

template <typename T, int kTaps>
__global__ void __launch_bounds__(kThreads)
    ShortConvolutionBackwardKernel(T* din, float* chunks, const T* dout, const T* in,
                                   const T* weight, const int32_t* positions, Walk walk) {
  constexpr int kCount = kChannels<T, kTaps>;
  const Place place = PlaceOf<kCount>(walk);
  if (place.begin >= walk.tokens) return;
  Window<kTaps, kCount> weights;
  LoadWeights(weights, weight, place, walk.taps);
  Window<kTaps, kCount> z = {};
  Window<kTaps, kCount> dweights = {};
  Following<kTaps, kCount> following;
  for (int64_t token = place.begin - (kTaps - 1); token < place.end; ++token) {
    Proceed(following, dout, in, positions, token, place, walk);
    if (token < 0) continue;
    const int64_t at = token * 3 * walk.width + place.channel;
    float b[kCount];
    float u[kCount];
    Load(b, in + at, place.count, walk.aligned);
    Load(u, in + at + 2 * walk.width, place.count, walk.aligned);
    Age(z);
#pragma unroll
    for (int i = 0; i < kCount; ++i) z[0][i] = b[i] * u[i];
    if (token < place.begin) continue;
    float dc[kCount];
    float dy[kCount];
    Convolve(dc, weights, z, following.reach[0]);
    Load(dy, dout + token * walk.width + place.channel, place.count, walk.aligned);
    AddProducts(dweights, following.dsum[0], z, following.reach[0]);
    float dz[kCount];
    ConvolveBack(dz, weights, following);
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      dc[i] *= dy[i];
      u[i] *= dz[i];
      b[i] *= dz[i];
    }
    Store(din + at, u, place.count, walk.aligned);
    Store(din + at + walk.width, dc, place.count, walk.aligned);
    Store(din + at + 2 * walk.width, b, place.count, walk.aligned);
  }
  float* const chunk = chunks + place.begin / kConvolutionChunk * walk.taps * walk.width;
#pragma unroll
  for (int lag = 0; lag < kTaps; ++lag) {
    if (lag < walk.taps) {
      Store(chunk + lag * walk.width + place.channel, dweights[lag], place.count, walk.aligned);
    }
  }
}

// dweight [width,taps] += the chunks, which have lags where it has taps.
__global__ void __launch_bounds__(kThreads)
    AddLagsKernel(float* dweight, const float* chunks, int64_t num_chunks, int64_t width,
                  int taps) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= taps * width) return;
  float sum = 0;
#pragma unroll 16
  for (int64_t chunk = 0; chunk < num_chunks; ++chunk) sum += chunks[chunk * taps * width + i];
  dweight[i % width * taps + taps - 1 - i / width] += sum;
}

template <int kCount>
struct TapCount {
  static constexpr int kTaps = kCount;
};

// fn(T(), TapCount) for the type of elements and windows that `taps` fit.
template <typename Fn>
cudaError_t WithElementAndTaps(Element element, int64_t taps, const Fn& fn) {
  return WithElement(element, [&](auto type) {
    if (taps <= 3) return fn(type, TapCount<3>());
    return taps == 4 ? fn(type, TapCount<4>()) : fn(type, TapCount<kMaxTaps>());
  });
}

Walk WalkOf(const ConvolutionShape& shape, int channels, bool aligned) {
  return {.tokens = shape.tokens,
          .width = shape.width,
          .packs = CeilDivide(shape.width, channels),
          .taps = static_cast<int>(shape.taps),
          .aligned = aligned && shape.width % channels == 0};
}
dim3 GridOf(const Walk& walk) {
  return dim3(
      static_cast<unsigned>(CeilDivide(NumConvolutionChunks(walk.tokens) * walk.packs, kThreads)));
}

}  // namespace

cudaError_t ShortConvolution(cudaStream_t stream, void* out, const void* in, const void* weight,
                             const int32_t* positions, Element element,
                             const ConvolutionShape& shape) {
  if (shape.tokens * shape.width == 0) return cudaSuccess;
  return WithElementAndTaps(element, shape.taps, [&](auto type, auto count) {
    using T = decltype(type);
    constexpr int kTaps = decltype(count)::kTaps;
    const Walk walk = WalkOf(shape, kChannels<T, kTaps>, AreAligned(out, in));
    return Launch(stream, GridOf(walk), kThreads, 0, ShortConvolutionKernel<T, kTaps>,
                  static_cast<T*>(out), static_cast<const T*>(in), static_cast<const T*>(weight),
                  positions, walk);
  });
}

cudaError_t ShortConvolutionBackward(cudaStream_t stream, void* din, float* dweight,
                                     float* workspace, const void* dout, const void* in,
                                     const void* weight, const int32_t* positions, Element element,
                                     const ConvolutionShape& shape) {
  if (shape.tokens * shape.width == 0) return cudaSuccess;
  const cudaError_t code = WithElementAndTaps(element, shape.taps, [&](auto type, auto count) {
    using T = decltype(type);
    constexpr int kTaps = decltype(count)::kTaps;
    const Walk walk = WalkOf(shape, kChannels<T, kTaps>, AreAligned(din, workspace, dout, in));
    return Launch(stream, GridOf(walk), kThreads, 0, ShortConvolutionBackwardKernel<T, kTaps>,
                  static_cast<T*>(din), workspace, static_cast<const T*>(dout),
                  static_cast<const T*>(in), static_cast<const T*>(weight), positions, walk);
  });
  if (code != cudaSuccess) return code;
  return Launch(stream, dim3(static_cast<unsigned>(CeilDivide(shape.taps * shape.width, kThreads))),
                kThreads, 0, AddLagsKernel, dweight, workspace, NumConvolutionChunks(shape.tokens),
                shape.width, shape.taps);
}

}  // namespace liquid::cuda
