// From the dtype of a tensor to the C++ type of its elements, for operations that take activations
// and weights as kF32 or as kBF16.
#ifndef LIQUID_KERNELS_CPU_ELEMENT_TYPE_H_
#define LIQUID_KERNELS_CPU_ELEMENT_TYPE_H_

#include <type_traits>

#include "base/check.h"
#include "tensor/tensor.h"

namespace liquid {

template <typename T>
inline constexpr DType kDTypeOf = std::is_same_v<T, BFloat16> ? DType::kBF16 : DType::kF32;

// The elements of `view`, which must be of type T.
template <typename T>
T* DataOf(const TensorView& view) {
  LIQUID_CHECK(view.dtype == kDTypeOf<T>, "dtype ", static_cast<int>(view.dtype));
  return static_cast<T*>(view.data);
}
template <typename T>
const T* DataOf(const ConstTensorView& view) {
  LIQUID_CHECK(view.dtype == kDTypeOf<T>, "dtype ", static_cast<int>(view.dtype));
  return static_cast<const T*>(view.data);
}

// Calls fn(T()), T the element type of `dtype`: float or BFloat16.
template <typename Fn>
void WithElementType(DType dtype, const Fn& fn) {
  if (dtype == DType::kBF16) return fn(BFloat16());
  LIQUID_CHECK(dtype == DType::kF32, "dtype ", static_cast<int>(dtype));
  fn(float());
}

}  // namespace liquid

#endif  // LIQUID_KERNELS_CPU_ELEMENT_TYPE_H_
