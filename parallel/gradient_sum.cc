#include "parallel/gradient_sum.h"

#include <cmath>
#include <cstring>

namespace liquid {
namespace {

constexpr double kFixedPointOne = static_cast<double>(int64_t{1} << kFixedPointBits);
constexpr int64_t kAlignment = 64;  // elements: sums start at whole cache lines

DType DTypeOf(GradientSumKind kind) {
  return kind == GradientSumKind::kExact ? DType::kI64 : DType::kF32;
}

int64_t Padded(int64_t count) { return (count + kAlignment - 1) / kAlignment * kAlignment; }

}  // namespace

GradientSum::GradientSum(GradientSumKind kind, absl::Span<const Shape> shapes, int slots_per_step,
                         Ops& ops, Stream& stream, TensorPool& pool)
    : ops_(ops), stream_(stream), limit_((int64_t{1} << 62) / slots_per_step) {
  int64_t total = 0;
  for (const Shape& shape : shapes) total += Padded(shape.NumElements());
  const DType dtype = DTypeOf(kind);
  storage_ = pool.Allocate(dtype, {total});
  flag_ = pool.Allocate(DType::kI32, {1});
  auto* data = static_cast<std::byte*>(storage_.view().data);
  for (const Shape& shape : shapes) {
    sums_.emplace_back(data, dtype, shape);
    data += Padded(shape.NumElements()) * SizeOf(dtype);
  }
  Clear();
}

void GradientSum::Fold(int index, ConstTensorView gradient) {
  ops_.Accumulate(sums_[index], gradient, limit_, static_cast<int32_t*>(flag_.view().data));
}

void GradientSum::FoldScalar(int slot_of_scalar, double value) {
  LIQUID_CHECK(slot_of_scalar >= 0 && slot_of_scalar < kNumScalars);
  if (!(std::fabs(value) * kFixedPointOne < static_cast<double>(limit_))) {
    scalars_[kNumScalars] = 1;
    return;
  }
  scalars_[slot_of_scalar] += std::llrint(value * kFixedPointOne);
}

double GradientSum::scalar(int slot_of_scalar) const {
  return static_cast<double>(scalars_[slot_of_scalar]) / kFixedPointOne;
}

void GradientSum::Combine(Communicator& communicator) {
  int32_t flag = 0;
  stream_.CopyToHost(&flag, flag_.view().data, sizeof(flag));
  const absl::Status status = stream_.Synchronize();
  LIQUID_CHECK(status.ok(), status.ToString());
  if (flag != 0) scalars_[kNumScalars] = 1;
  communicator.AllReduceSum(storage_.view());
  communicator.AllReduceSum(TensorView(scalars_, DType::kI64, {kNumScalars + 1}));
  overflowed_ = scalars_[kNumScalars] != 0;
}

void GradientSum::Clear() {
  // Zero is all bits zero in both representations.
  const TensorView all = storage_.view();
  ops_.Fill(TensorView(all.data, DType::kF32, {all.NumBytes() / SizeOf(DType::kF32)}), 0.0f);
  ClearScalars();
}

void GradientSum::ClearScalars() {
  const int32_t zero = 0;
  stream_.CopyFromHost(flag_.view().data, &zero, sizeof(zero));
  std::memset(scalars_, 0, sizeof(scalars_));
  overflowed_ = false;
}

}  // namespace liquid
