#include "parallel/gradient_sum.h"

#include <cmath>
#include <cstring>
#include <utility>

#include "base/check.h"

namespace liquid {
namespace {

constexpr double kFixedPointOne = static_cast<double>(int64_t{1} << kFixedPointBits);
DType DTypeOf(GradientSumKind kind) {
  return kind == GradientSumKind::kExact ? DType::kI64 : DType::kF32;
}

// The same memory, to be copied or zeroed.
TensorView AsFloats(const TensorView& tensor) {
  return TensorView(tensor.data, DType::kF32, {tensor.NumBytes() / SizeOf(DType::kF32)});
}

}  // namespace

GradientSum::GradientSum(GradientSumKind kind, const FlatLayout& layout,
                         std::vector<int> num_holders, int slots_per_step, const GangMesh& mesh,
                         Ops& ops, Stream& stream, TensorPool& pool)
    : layout_(layout),
      num_holders_(std::move(num_holders)),
      mesh_(mesh),
      ops_(ops),
      stream_(stream),
      pool_(pool),
      limit_((int64_t{1} << 62) / slots_per_step / mesh.tensor_size()),
      storage_(pool.Allocate(DTypeOf(kind), {layout.total()})),
      flag_(pool.Allocate(DType::kI32, {1})) {
  LIQUID_CHECK(layout.num_slices() == mesh.num_replicas() &&
               static_cast<int>(num_holders_.size()) == layout.num_tensors());
  combined_ = storage_.view();
  Clear();
}

void GradientSum::Fold(int index, ConstTensorView gradient) {
  const int64_t begin = layout_.offset(index);
  ops_.Accumulate(Elements(storage_.view(), begin, begin + layout_.size(index)), gradient, limit_,
                  static_cast<int32_t*>(flag_.view().data));
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

void GradientSum::CombineInGang(bool keeps) {
  TakeFlag();
  const bool is_apart = keeps || layout_.num_slices() > 1;
  if (is_apart && !slice_storage_) {
    slice_storage_ = pool_.Allocate(storage_.view().dtype, {layout_.slice_size()});
  }
  combined_ = is_apart ? slice_storage_.view() : storage_.view();
  if (layout_.num_slices() > 1) {
    mesh_.replicas().ReduceScatterPartsSum(combined_, storage_.view());
  } else if (is_apart) {
    ops_.Copy(AsFloats(combined_), AsFloats(storage_.view()));
  }
  layout_.ForEachInSlice(mesh_.replica(),
                         [&](int tensor, int64_t begin, int64_t end, int64_t offset) {
                           GangCommunicator* const holders = mesh_.holders(num_holders_[tensor]);
                           if (holders == nullptr) return;
                           holders->AllReduceSum(Elements(combined_, offset, offset + end - begin));
                         });
  mesh_.gang().AllReduceSum(TensorView(combined_scalars_, DType::kI64, {kNumScalars + 1}));
}

void GradientSum::CombineAcross(Communicator& rail) {
  rail.AllReduceSum(combined_);
  rail.AllReduceSum(TensorView(combined_scalars_, DType::kI64, {kNumScalars + 1}));
}

void GradientSum::Clear() {
  ZeroOwn();
  ClearAfterUpdate();
}

void GradientSum::ZeroOwn() {
  // Zero is all bits zero in both representations.
  ops_.Fill(AsFloats(storage_.view()), 0.0f);
}

void GradientSum::ClearAfterUpdate() {
  if (combined_.data != storage_.view().data) ZeroOwn();
  combined_ = storage_.view();
  const int32_t zero = 0;
  stream_.CopyFromHost(flag_.view().data, &zero, sizeof(zero));
  std::memset(scalars_, 0, sizeof(scalars_));
  std::memset(combined_scalars_, 0, sizeof(combined_scalars_));
}

}  // namespace liquid
