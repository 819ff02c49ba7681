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

// Where each of `shapes` lies in `storage`, one after the other.
std::vector<TensorView> Divide(const TensorView& storage, absl::Span<const Shape> shapes) {
  std::vector<TensorView> views;
  auto* data = static_cast<std::byte*>(storage.data);
  for (const Shape& shape : shapes) {
    views.emplace_back(data, storage.dtype, shape);
    data += Padded(shape.NumElements()) * SizeOf(storage.dtype);
  }
  return views;
}

}  // namespace

GradientSum::GradientSum(GradientSumKind kind, absl::Span<const Shape> shapes, int slots_per_step,
                         Ops& ops, Stream& stream, TensorPool& pool)
    : ops_(ops), stream_(stream), pool_(pool), limit_((int64_t{1} << 62) / slots_per_step) {
  int64_t total = 0;
  for (const Shape& shape : shapes) total += Padded(shape.NumElements());
  storage_ = pool.Allocate(DTypeOf(kind), {total});
  flag_ = pool.Allocate(DType::kI32, {1});
  sums_ = Divide(storage_.view(), shapes);
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
  return static_cast<double>(combined_scalars_[slot_of_scalar]) / kFixedPointOne;
}

// Folds are enqueued: what they found is known once the stream has run.
void GradientSum::TakeFlag() {
  int32_t flag = 0;
  stream_.CopyToHost(&flag, flag_.view().data, sizeof(flag));
  const absl::Status status = stream_.Synchronize();
  LIQUID_CHECK(status.ok(), status.ToString());
  if (flag != 0) scalars_[kNumScalars] = 1;
  std::memcpy(combined_scalars_, scalars_, sizeof(scalars_));
}

void GradientSum::Combine(Communicator& gang) {
  TakeFlag();
  is_across_ = false;
  gang.AllReduceSum(storage_.view());
  gang.AllReduceSum(TensorView(combined_scalars_, DType::kI64, {kNumScalars + 1}));
}

void GradientSum::CombineInGang(Communicator& gang) {
  TakeFlag();
  if (!is_across_) {
    if (total_sums_.empty()) {
      total_ = pool_.Allocate(storage_.view().dtype, storage_.view().shape);
      std::vector<Shape> shapes;
      for (const TensorView& sum : sums_) shapes.push_back(sum.shape);
      total_sums_ = Divide(total_.view(), shapes);
    }
    is_across_ = true;
  }
  gang.ReduceScatterSum(storage_.view(), total_.view());
  gang.AllReduceSum(TensorView(combined_scalars_, DType::kI64, {kNumScalars + 1}));
}

void GradientSum::CombineAcross(Communicator& rail, int rank_in_gang, int gang_size) {
  const TensorView all = total_.view();
  rail.AllReduceSum(SliceView(all, SliceOf(all.NumElements(), rank_in_gang, gang_size)));
  rail.AllReduceSum(TensorView(combined_scalars_, DType::kI64, {kNumScalars + 1}));
}

void GradientSum::GatherInGang(Communicator& gang) { gang.AllGather(total_.view()); }

void GradientSum::Clear() {
  ZeroOwn();
  ClearAfterUpdate();
}

void GradientSum::ZeroOwn() {
  // Zero is all bits zero in both representations.
  const TensorView all = storage_.view();
  ops_.Fill(TensorView(all.data, DType::kF32, {all.NumBytes() / SizeOf(DType::kF32)}), 0.0f);
}

void GradientSum::ClearAfterUpdate() {
  if (is_across_) ZeroOwn();
  is_across_ = false;
  const int32_t zero = 0;
  stream_.CopyFromHost(flag_.view().data, &zero, sizeof(zero));
  std::memset(scalars_, 0, sizeof(scalars_));
  std::memset(combined_scalars_, 0, sizeof(combined_scalars_));
}

}  // namespace liquid
