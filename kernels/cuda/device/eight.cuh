// Rows of activations and weights, eight elements at a time: an access of 16 bytes for bfloat16 and
// two for float, where addresses allow it. A thread takes the same elements whatever their type
// and alignment, so that sums over them have the same order.
#ifndef LIQUID_KERNELS_CUDA_DEVICE_EIGHT_CUH_
#define LIQUID_KERNELS_CUDA_DEVICE_EIGHT_CUH_

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/cuda/device/element.h"

namespace liquid::cuda {

inline constexpr int kEight = 8;

__device__ __forceinline__ float Widen(float value) { return value; }
__device__ __forceinline__ float Widen(__nv_bfloat16 value) { return __bfloat162float(value); }
__device__ __forceinline__ void Narrow(float& to, float value) { to = value; }
__device__ __forceinline__ void Narrow(__nv_bfloat16& to, float value) {
  to = __float2bfloat16_rn(value);
}

// What one access moves.
template <typename T>
struct alignas(16) Access {
  static constexpr int kCount = 16 / static_cast<int>(sizeof(T));
  T values[kCount];
};

// values = from[0 .. count), and zeros behind. `aligned`: if count >= 8, `from` is at 16 bytes.
template <typename T>
__device__ __forceinline__ void LoadEight(float (&values)[kEight], const T* from, int64_t count,
                                          bool aligned) {
  if (aligned && count >= kEight) {
    constexpr int kCount = Access<T>::kCount;
#pragma unroll
    for (int i = 0; i < kEight; i += kCount) {
      const Access<T> loaded = *reinterpret_cast<const Access<T>*>(from + i);
#pragma unroll
      for (int j = 0; j < kCount; ++j) values[i + j] = Widen(loaded.values[j]);
    }
    return;
  }
#pragma unroll
  for (int i = 0; i < kEight; ++i) values[i] = i < count ? Widen(from[i]) : 0.0f;
}

// to[0 .. count) = values, rounded once.
template <typename T>
__device__ __forceinline__ void StoreEight(T* to, const float (&values)[kEight], int64_t count,
                                           bool aligned) {
  if (aligned && count >= kEight) {
    constexpr int kCount = Access<T>::kCount;
#pragma unroll
    for (int i = 0; i < kEight; i += kCount) {
      Access<T> stored;
#pragma unroll
      for (int j = 0; j < kCount; ++j) Narrow(stored.values[j], values[i + j]);
      *reinterpret_cast<Access<T>*>(to + i) = stored;
    }
    return;
  }
#pragma unroll
  for (int i = 0; i < kEight; ++i) {
    if (i < count) Narrow(to[i], values[i]);
  }
}

// ---- For launchers ----

// Whether all of them are at 16 bytes.
template <typename... T>
bool AreAligned(const T*... pointers) {
  return ((reinterpret_cast<uintptr_t>(pointers) % 16 == 0) && ...);
}

// fn(T()), T the type of such elements.
template <typename Fn>
cudaError_t WithElement(Element element, const Fn& fn) {
  return element == Element::kBF16 ? fn(__nv_bfloat16()) : fn(float());
}

constexpr int64_t CeilDivide(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace liquid::cuda

#endif  // LIQUID_KERNELS_CUDA_DEVICE_EIGHT_CUH_
