#include "tests/emulated_cuda/nccl_arithmetic.h"

#include <cuda_bf16.h>

#include <cstdint>
#include <type_traits>

namespace liquid::emulated {
namespace {

template <typename T>
T Combine(T a, T b, ncclRedOp_t op) {
  switch (op) {
    case ncclProd:
      return static_cast<T>(a * b);
    case ncclMax:
      return a < b ? b : a;
    case ncclMin:
      return b < a ? b : a;
    default:
      return static_cast<T>(a + b);
  }
}

template <typename T>
void Reduce(void* sums, const void* values, size_t count, ncclRedOp_t op) {
  T* const to = static_cast<T*>(sums);
  const T* const from = static_cast<const T*>(values);
  for (size_t i = 0; i < count; ++i) {
    if constexpr (std::is_same_v<T, __nv_bfloat16>) {
      to[i] = __float2bfloat16(Combine(__bfloat162float(to[i]), __bfloat162float(from[i]), op));
    } else {
      to[i] = Combine(to[i], from[i], op);
    }
  }
}

template <typename T>
void Divide(void* sums, size_t count, int divisor) {
  T* const to = static_cast<T*>(sums);
  for (size_t i = 0; i < count; ++i) {
    if constexpr (std::is_same_v<T, __nv_bfloat16>) {
      to[i] = __float2bfloat16(__bfloat162float(to[i]) / static_cast<float>(divisor));
    } else {
      to[i] = to[i] / static_cast<T>(divisor);
    }
  }
}

// Calls `function` with a value of the C++ type.
template <typename Function>
void WithType(ncclDataType_t type, Function function) {
  switch (type) {
    case ncclInt8:
      return function(int8_t{});
    case ncclUint8:
      return function(uint8_t{});
    case ncclInt32:
      return function(int32_t{});
    case ncclUint32:
      return function(uint32_t{});
    case ncclInt64:
      return function(int64_t{});
    case ncclUint64:
      return function(uint64_t{});
    case ncclFloat32:
      return function(float{});
    case ncclFloat64:
      return function(double{});
    case ncclBfloat16:
      return function(__nv_bfloat16{});
    default:
      return;
  }
}

}  // namespace

size_t BytesOf(ncclDataType_t type) {
  size_t bytes = 0;
  WithType(type, [&bytes](auto value) { bytes = sizeof value; });
  return bytes;
}

void ReduceInto(void* sums, const void* values, size_t count, ncclDataType_t type, ncclRedOp_t op) {
  WithType(type, [=](auto value) { Reduce<decltype(value)>(sums, values, count, op); });
}

void DivideBy(int num_ranks, void* sums, size_t count, ncclDataType_t type) {
  WithType(type, [=](auto value) { Divide<decltype(value)>(sums, count, num_ranks); });
}

}  // namespace liquid::emulated
