#include "kernels/cuda/device/activation.h"

#include "kernels/cuda/device/eight.cuh"
#include "kernels/cuda/device/launch.cuh"

namespace liquid::cuda {
namespace {

constexpr int kThreads = 256;

struct ValueAndSlope {
  float value;
  float slope;
};

struct Silu {
  static __device__ __forceinline__ float Value(float x) { return x / (1.0f + expf(-x)); }
  static __device__ __forceinline__ ValueAndSlope Both(float x) {
    const float s = 1.0f / (1.0f + expf(-x));
    const float value = x * s;
    return {value, s + value * (1.0f - s)};
  }
};

// 0.5 x (1 + tanh(u)) = x s(2u), s the logistic function.
struct GeluTanh {
  static constexpr float kTwiceRoot = 1.5957691216057308f;  // 2 sqrt(2 / pi)
  static constexpr float kCubic = 0.044715f;
  // The cube of a huge x must stay finite; the logistic is 0 or 1 long before.
  static __device__ __forceinline__ float Bounded(float x) {
    return fminf(fmaxf(x, -20.0f), 20.0f);
  }
  static __device__ __forceinline__ float Logistic(float b) {
    return 1.0f / (1.0f + expf(-kTwiceRoot * (b + kCubic * b * b * b)));
  }
  static __device__ __forceinline__ float Value(float x) { return x * Logistic(Bounded(x)); }
  static __device__ __forceinline__ ValueAndSlope Both(float x) {
    const float b = Bounded(x);
    const float s = Logistic(b);
    const float inner = kTwiceRoot * (1.0f + 3 * kCubic * b * b);
    return {x * s, s + b * s * (1.0f - s) * inner};
  }
};

__device__ __forceinline__ int64_t FirstElement() {
  return (int64_t{blockIdx.x} * kThreads + threadIdx.x) * kEight;
}

template <typename A, typename T>
__global__ void __launch_bounds__(kThreads)
    ActivateKernel(T* out, const T* x, int64_t count, bool aligned) {
  const int64_t at = FirstElement();
  float values[kEight];
  LoadEight(values, x + at, count - at, aligned);
#pragma unroll
  for (int i = 0; i < kEight; ++i) values[i] = A::Value(values[i]);
  StoreEight(out + at, values, count - at, aligned);
}

template <typename A, typename T>
__global__ void __launch_bounds__(kThreads)
    ActivateBackwardKernel(T* dx, const T* dout, const T* x, int64_t count, bool aligned) {
  const int64_t at = FirstElement();
  float dy[kEight];
  float values[kEight];
  LoadEight(dy, dout + at, count - at, aligned);
  LoadEight(values, x + at, count - at, aligned);
#pragma unroll
  for (int i = 0; i < kEight; ++i) values[i] = dy[i] * A::Both(values[i]).slope;
  StoreEight(dx + at, values, count - at, aligned);
}

template <typename A, typename T>
__global__ void __launch_bounds__(kThreads)
    GatedActivateKernel(T* out, const T* gate, const T* up, int64_t count, bool aligned) {
  const int64_t at = FirstElement();
  float g[kEight];
  float u[kEight];
  LoadEight(g, gate + at, count - at, aligned);
  LoadEight(u, up + at, count - at, aligned);
#pragma unroll
  for (int i = 0; i < kEight; ++i) u[i] *= A::Value(g[i]);
  StoreEight(out + at, u, count - at, aligned);
}

template <typename A, typename T>
__global__ void __launch_bounds__(kThreads)
    GatedActivateBackwardKernel(T* dgate, T* dup, const T* dout, const T* gate, const T* up,
                                int64_t count, bool aligned) {
  const int64_t at = FirstElement();
  float dy[kEight];
  float g[kEight];
  float u[kEight];
  LoadEight(dy, dout + at, count - at, aligned);
  LoadEight(g, gate + at, count - at, aligned);
  LoadEight(u, up + at, count - at, aligned);
#pragma unroll
  for (int i = 0; i < kEight; ++i) {
    const ValueAndSlope a = A::Both(g[i]);
    g[i] = dy[i] * u[i] * a.slope;
    u[i] = dy[i] * a.value;
  }
  StoreEight(dup + at, u, count - at, aligned);
  StoreEight(dgate + at, g, count - at, aligned);
}

dim3 Blocks(int64_t count) {
  return dim3(static_cast<unsigned>(CeilDivide(count, int64_t{kThreads} * kEight)));
}

}  // namespace

cudaError_t Activate(cudaStream_t stream, void* out, const void* x, Element element, int64_t count,
                     bool gelu) {
  if (count == 0) return cudaSuccess;
  return WithElement(element, [&](auto type) {
    using T = decltype(type);
    return Launch(stream, Blocks(count), kThreads, 0,
                  gelu ? ActivateKernel<GeluTanh, T> : ActivateKernel<Silu, T>,
                  static_cast<T*>(out), static_cast<const T*>(x), count, AreAligned(out, x));
  });
}

cudaError_t ActivateBackward(cudaStream_t stream, void* dx, const void* dout, const void* x,
                             Element element, int64_t count, bool gelu) {
  if (count == 0) return cudaSuccess;
  return WithElement(element, [&](auto type) {
    using T = decltype(type);
    return Launch(stream, Blocks(count), kThreads, 0,
                  gelu ? ActivateBackwardKernel<GeluTanh, T> : ActivateBackwardKernel<Silu, T>,
                  static_cast<T*>(dx), static_cast<const T*>(dout), static_cast<const T*>(x), count,
                  AreAligned(dx, dout, x));
  });
}

cudaError_t GatedActivate(cudaStream_t stream, void* out, const void* gate, const void* up,
                          Element element, int64_t count, bool gelu) {
  if (count == 0) return cudaSuccess;
  return WithElement(element, [&](auto type) {
    using T = decltype(type);
    return Launch(stream, Blocks(count), kThreads, 0,
                  gelu ? GatedActivateKernel<GeluTanh, T> : GatedActivateKernel<Silu, T>,
                  static_cast<T*>(out), static_cast<const T*>(gate), static_cast<const T*>(up),
                  count, AreAligned(out, gate, up));
  });
}

cudaError_t GatedActivateBackward(cudaStream_t stream, void* dgate, void* dup, const void* dout,
                                  const void* gate, const void* up, Element element, int64_t count,
                                  bool gelu) {
  if (count == 0) return cudaSuccess;
  return WithElement(element, [&](auto type) {
    using T = decltype(type);
    return Launch(
        stream, Blocks(count), kThreads, 0,
        gelu ? GatedActivateBackwardKernel<GeluTanh, T> : GatedActivateBackwardKernel<Silu, T>,
        static_cast<T*>(dgate), static_cast<T*>(dup), static_cast<const T*>(dout),
        static_cast<const T*>(gate), static_cast<const T*>(up), count,
        AreAligned(dgate, dup, dout, gate, up));
  });
}

}  // namespace liquid::cuda
