// Element types of tensors in memory and in safetensors files.
#ifndef LIQUID_TENSOR_DTYPE_H_
#define LIQUID_TENSOR_DTYPE_H_

#include <cstdint>
#include <optional>
#include <string_view>

#include "tensor/bfloat16.h"

namespace liquid {

enum class DType : uint8_t {
  kBool,
  kU8,
  kI8,
  kU16,
  kI16,
  kU32,
  kI32,
  kU64,
  kI64,
  kF8E4M3,
  kF8E5M2,
  kF16,
  kBF16,
  kF32,
  kF64
};

// Bytes of one element: 1, 2, 4 or 8.
int SizeOf(DType dtype);
// The name that the safetensors format gives it, such as "F32", "BF16"; and back.
std::string_view DTypeName(DType dtype);
std::optional<DType> DTypeFromName(std::string_view name);

float ToFloat(BFloat16 value);
BFloat16 ToBFloat16(float value);  // round to nearest, ties to even; NaN stays NaN
float HalfToFloat(uint16_t bits);  // IEEE-754 binary16, exact

}  // namespace liquid

#endif  // LIQUID_TENSOR_DTYPE_H_
