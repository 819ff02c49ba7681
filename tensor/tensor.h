// Shapes and non-owning views of dense row-major tensors.
#ifndef LIQUID_TENSOR_TENSOR_H_
#define LIQUID_TENSOR_TENSOR_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>

#include "base/check.h"
#include "tensor/dtype.h"

namespace liquid {

// The extents of a tensor, outermost first: a value of fixed size, so that making one never
// allocates. A scalar has rank 0.
class Shape {
 public:
  static constexpr int kMaxRank = 5;

  Shape() = default;
  Shape(std::initializer_list<int64_t> extents) {
    LIQUID_CHECK(extents.size() <= kMaxRank);
    for (const int64_t extent : extents) extents_[rank_++] = extent;
  }

  int rank() const { return rank_; }
  int64_t operator[](int i) const { return extents_[i]; }
  int64_t back() const { return extents_[rank_ - 1]; }  // REQUIRES: rank() > 0
  const int64_t* begin() const { return extents_.data(); }
  const int64_t* end() const { return extents_.data() + rank_; }
  void Append(int64_t extent) {
    LIQUID_CHECK(rank_ < kMaxRank);
    extents_[rank_++] = extent;
  }

  // The number of elements; 1 for a scalar.
  int64_t NumElements() const {
    int64_t count = 1;
    for (const int64_t extent : *this) count *= extent;
    return count;
  }
  std::string ToString() const;  // "[2,3]"

  friend bool operator==(const Shape& a, const Shape& b) {
    if (a.rank_ != b.rank_) return false;
    for (int i = 0; i < a.rank_; ++i) {
      if (a.extents_[i] != b.extents_[i]) return false;
    }
    return true;
  }

 private:
  std::array<int64_t, kMaxRank> extents_ = {};
  int rank_ = 0;
};

// A contiguous tensor in the memory of some device. Owns nothing.
template <typename Pointer>
struct BasicTensorView {
  Pointer data = nullptr;
  DType dtype = DType::kF32;
  Shape shape;

  int64_t NumElements() const { return shape.NumElements(); }
  int64_t NumBytes() const { return NumElements() * SizeOf(dtype); }
  // Rows when the last axis is taken as columns.
  int64_t NumRows() const { return shape.rank() == 0 ? 1 : NumElements() / shape.back(); }
};

struct TensorView : BasicTensorView<void*> {
  TensorView() = default;
  TensorView(void* d, DType t, Shape s) : BasicTensorView{d, t, s} {}
  TensorView(float* d, Shape s) : BasicTensorView{d, DType::kF32, s} {}
  float* f32() const {
    LIQUID_CHECK(dtype == DType::kF32);
    return static_cast<float*>(data);
  }
  // The same elements under another shape of as many elements.
  TensorView Reshape(Shape s) const {
    LIQUID_CHECK(s.NumElements() == NumElements());
    return {data, dtype, s};
  }
};

struct ConstTensorView : BasicTensorView<const void*> {
  ConstTensorView() = default;
  ConstTensorView(const void* d, DType t, Shape s) : BasicTensorView{d, t, s} {}
  ConstTensorView(const float* d, Shape s) : BasicTensorView{d, DType::kF32, s} {}
  ConstTensorView(const TensorView& t) : BasicTensorView{t.data, t.dtype, t.shape} {}  // NOLINT
  const float* f32() const {
    LIQUID_CHECK(dtype == DType::kF32);
    return static_cast<const float*>(data);
  }
  ConstTensorView Reshape(Shape s) const {
    LIQUID_CHECK(s.NumElements() == NumElements());
    return {data, dtype, s};
  }
};

}  // namespace liquid

#endif  // LIQUID_TENSOR_TENSOR_H_
