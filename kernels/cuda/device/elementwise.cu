#include "kernels/cuda/device/elementwise.h"

#include <cuda_fp16.h>

#include <algorithm>

#include "kernels/cuda/device/grid.cuh"
#include "kernels/cuda/device/launch.cuh"
#include "kernels/cuda/device/vector.cuh"

namespace liquid::cuda {
namespace {

template <typename T, int kCount>
__global__ __launch_bounds__(kThreads) void FillKernel(T* __restrict__ out, float value,
                                                       int64_t count) {
  Pack<T, kCount> pack;
#pragma unroll
  for (int i = 0; i < kCount; ++i) pack.at[i] = FromFloat<T>(value);
  for (int64_t item = FirstItem(); item < count / kCount; item += ItemStride()) {
    reinterpret_cast<Pack<T, kCount>*>(out)[item] = pack;
  }
  for (int64_t i = count / kCount * kCount + FirstItem(); i < count; i += ItemStride()) {
    out[i] = pack.at[0];
  }
}

// out = function(a, b), kCount elements at once; b may be null if the function ignores it.
template <int kCount, typename Out, typename In, typename Function>
__device__ __forceinline__ void Map(Out* out, const In* a, const In* b, int64_t count,
                                    const Function& function) {
  for (int64_t item = FirstItem(); item < count / kCount; item += ItemStride()) {
    const Pack<In, kCount> left = reinterpret_cast<const Pack<In, kCount>*>(a)[item];
    Pack<In, kCount> right = left;
    if (b != nullptr) right = reinterpret_cast<const Pack<In, kCount>*>(b)[item];
    Pack<Out, kCount> result;
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      result.at[i] = FromFloat<Out>(function(Widen(left.at[i]), Widen(right.at[i])));
    }
    reinterpret_cast<Pack<Out, kCount>*>(out)[item] = result;
  }
  for (int64_t i = count / kCount * kCount + FirstItem(); i < count; i += ItemStride()) {
    out[i] = FromFloat<Out>(function(Widen(a[i]), b != nullptr ? Widen(b[i]) : 0.0f));
  }
}

template <int kCount, typename Out, typename In>
__global__ __launch_bounds__(kThreads) void ScaleKernel(Out* out, const In* x, float factor,
                                                        int64_t count) {
  Map<kCount>(out, x, static_cast<const In*>(nullptr), count,
              [factor](float value, float) { return value * factor; });
}

template <int kCount, typename T>
__global__ __launch_bounds__(kThreads) void ScaleByKernel(T* out, const T* x, const T* factor,
                                                          int64_t count) {
  const float by = Widen(*factor);
  Map<kCount>(out, x, static_cast<const T*>(nullptr), count,
              [by](float value, float) { return value * by; });
}

template <int kCount, typename T>
__global__ __launch_bounds__(kThreads) void AddKernel(T* out, const T* a, const T* b,
                                                      int64_t count) {
  Map<kCount>(out, a, b, count, [](float left, float right) { return left + right; });
}

__global__ __launch_bounds__(kThreads) void HalfKernel(float* __restrict__ out,
                                                       const __half* __restrict__ x,
                                                       int64_t count) {
  for (int64_t i = FirstItem(); i < count; i += ItemStride()) out[i] = __half2float(x[i]);
}

template <typename T>
__global__ __launch_bounds__(kThreads) void BiasKernel(T* __restrict__ inout,
                                                       const T* __restrict__ bias, int64_t count,
                                                       int64_t width) {
  for (int64_t i = FirstItem(); i < count; i += ItemStride()) {
    inout[i] = FromFloat<T>(Widen(inout[i]) + Widen(bias[i % width]));
  }
}

// A thread has a column, a block kThreads columns of one run of rows.
template <typename T>
__global__ __launch_bounds__(kThreads) void RunsKernel(float* __restrict__ partial,
                                                       const T* __restrict__ x, int64_t rows,
                                                       int64_t runs, int64_t width) {
  const int64_t column = FirstItem();
  if (column >= width) return;
  for (int64_t run = blockIdx.y; run < runs; run += gridDim.y) {
    const int64_t end = (run + 1) * kSumRows < rows ? (run + 1) * kSumRows : rows;
    float sum = 0;
    for (int64_t row = run * kSumRows; row < end; ++row) sum += Widen(x[row * width + column]);
    partial[run * width + column] = sum;
  }
}

__global__ __launch_bounds__(kThreads) void AddRunsKernel(float* __restrict__ out,
                                                          const float* __restrict__ partial,
                                                          int64_t runs, int64_t width) {
  for (int64_t column = FirstItem(); column < width; column += ItemStride()) {
    float sum = 0;
    for (int64_t run = 0; run < runs; ++run) sum += partial[run * width + column];
    out[column] += sum;
  }
}

// How many elements a thread takes at once: 16 bytes of the smaller ones where all is aligned.
template <typename Out, typename In>
constexpr int kPack = static_cast<int>(16 / std::max(sizeof(Out), sizeof(In)));

template <typename Out, typename In>
cudaError_t LaunchScale(cudaStream_t stream, void* out, const void* x, float factor,
                        int64_t count) {
  auto* to = static_cast<Out*>(out);
  const auto* from = static_cast<const In*>(x);
  constexpr int kCount = kPack<Out, In>;
  if (IsAligned(out) && IsAligned(x)) {
    return Launch(stream, GridFor(count / kCount), kThreads, 0, ScaleKernel<kCount, Out, In>, to,
                  from, factor, count);
  }
  return Launch(stream, GridFor(count), kThreads, 0, ScaleKernel<1, Out, In>, to, from, factor,
                count);
}

}  // namespace

cudaError_t Fill(cudaStream_t stream, Element element, void* out, float value, int64_t count) {
  return WithElement(element, [&](auto type) {
    using T = decltype(type);
    constexpr int kCount = kPack<T, T>;
    auto* to = static_cast<T*>(out);
    if (IsAligned(out)) {
      return Launch(stream, GridFor(count / kCount), kThreads, 0, FillKernel<T, kCount>, to, value,
                    count);
    }
    return Launch(stream, GridFor(count), kThreads, 0, FillKernel<T, 1>, to, value, count);
  });
}

cudaError_t Convert(cudaStream_t stream, Element to, void* out, const void* x, int64_t count) {
  if (to == Element::kF32) {
    return LaunchScale<float, __nv_bfloat16>(stream, out, x, 1.0f, count);
  }
  return LaunchScale<__nv_bfloat16, float>(stream, out, x, 1.0f, count);
}

cudaError_t ConvertHalf(cudaStream_t stream, float* out, const void* x, int64_t count) {
  return Launch(stream, GridFor(count), kThreads, 0, HalfKernel, out, static_cast<const __half*>(x),
                count);
}

cudaError_t Add(cudaStream_t stream, Element element, void* out, const void* a, const void* b,
                int64_t count) {
  return WithElement(element, [&](auto type) {
    using T = decltype(type);
    constexpr int kCount = kPack<T, T>;
    auto* to = static_cast<T*>(out);
    const auto* left = static_cast<const T*>(a);
    const auto* right = static_cast<const T*>(b);
    if (IsAligned(out) && IsAligned(a) && IsAligned(b)) {
      return Launch(stream, GridFor(count / kCount), kThreads, 0, AddKernel<kCount, T>, to, left,
                    right, count);
    }
    return Launch(stream, GridFor(count), kThreads, 0, AddKernel<1, T>, to, left, right, count);
  });
}

cudaError_t Scale(cudaStream_t stream, Element element, void* out, const void* x, float factor,
                  int64_t count) {
  return WithElement(element, [&](auto type) {
    using T = decltype(type);
    return LaunchScale<T, T>(stream, out, x, factor, count);
  });
}

cudaError_t ScaleBy(cudaStream_t stream, Element element, void* out, const void* x,
                    const void* factor, int64_t count) {
  return WithElement(element, [&](auto type) {
    using T = decltype(type);
    constexpr int kCount = kPack<T, T>;
    auto* to = static_cast<T*>(out);
    const auto* from = static_cast<const T*>(x);
    const auto* by = static_cast<const T*>(factor);
    if (IsAligned(out) && IsAligned(x)) {
      return Launch(stream, GridFor(count / kCount), kThreads, 0, ScaleByKernel<kCount, T>, to,
                    from, by, count);
    }
    return Launch(stream, GridFor(count), kThreads, 0, ScaleByKernel<1, T>, to, from, by, count);
  });
}

cudaError_t AddBias(cudaStream_t stream, Element element, void* inout, const void* bias,
                    int64_t rows, int64_t width) {
  return WithElement(element, [&](auto type) {
    using T = decltype(type);
    return Launch(stream, GridFor(rows * width), kThreads, 0, BiasKernel<T>, static_cast<T*>(inout),
                  static_cast<const T*>(bias), rows * width, width);
  });
}

cudaError_t SumRuns(cudaStream_t stream, Element element, float* partial, const void* x,
                    int64_t rows, int64_t width) {
  constexpr int64_t kMostGridRows = 65535;
  if (rows == 0 || width == 0) return cudaSuccess;
  return WithElement(element, [&](auto type) {
    using T = decltype(type);
    const dim3 grid(static_cast<unsigned>((width + kThreads - 1) / kThreads),
                    static_cast<unsigned>(std::min(NumSumRuns(rows), kMostGridRows)));
    return Launch(stream, grid, kThreads, 0, RunsKernel<T>, partial, static_cast<const T*>(x), rows,
                  NumSumRuns(rows), width);
  });
}

cudaError_t AddRuns(cudaStream_t stream, float* out, const float* partial, int64_t runs,
                    int64_t width) {
  return Launch(stream, GridFor(width), kThreads, 0, AddRunsKernel, out, partial, runs, width);
}

}  // namespace liquid::cuda
