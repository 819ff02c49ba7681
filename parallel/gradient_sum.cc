#include "parallel/gradient_sum.h"

#include <algorithm>
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

// Whether it is sharded in effect.
GradientSum::Options Resolve(GradientSum::Options options, const FlatLayout& layout) {
  options.is_sharded = options.is_sharded && layout.num_slices() > 1;
  return options;
}

}  // namespace

int64_t GradientSum::NumBytes(const Options& options, const FlatLayout& layout, bool keeps) {
  const bool is_sharded = Resolve(options, layout).is_sharded;
  const bool is_apart = keeps || (layout.num_slices() > 1 && !is_sharded);
  const int64_t count = (is_sharded ? layout.slice_size() + kBucketElements : layout.total()) +
                        (is_apart ? layout.slice_size() : 0);
  return count * SizeOf(DTypeOf(options.kind));
}

GradientSum::GradientSum(Options options, const FlatLayout& layout, const GangMesh& mesh, Ops& ops,
                         Stream& stream, TensorPool& pool)
    : options_(Resolve(std::move(options), layout)),
      layout_(layout),
      mesh_(mesh),
      ops_(ops),
      stream_(stream),
      pool_(pool),
      limit_((int64_t{1} << 62) / options_.slots_per_step / mesh.tensor_size()),
      storage_(pool.Allocate(DTypeOf(options_.kind),
                             {options_.is_sharded ? layout.slice_size() : layout.total()})),
      bucket_(options_.is_sharded ? pool.Allocate(DTypeOf(options_.kind), {kBucketElements})
                                  : PooledTensor()),
      slice_storage_(is_cut() ? pool.Allocate(DTypeOf(options_.kind), {layout.slice_size()})
                              : PooledTensor()),
      early_(mesh.beside(), stream, mesh.beside_stream()),
      flag_(pool.Allocate(DType::kI32, {1})) {
  LIQUID_CHECK(layout.num_slices() == mesh.num_replicas() &&
               static_cast<int>(options_.num_holders.size()) == layout.num_tensors());
  combined_ = storage_.view();
  Clear();
}

void GradientSum::Fold(int index, ConstTensorView gradient) {
  if (options_.is_sharded) return FoldToOwners(index, gradient.f32());
  const int64_t begin = layout_.offset(index);
  ops_.Accumulate(Elements(storage_.view(), begin, begin + layout_.size(index)), gradient, limit_,
                  static_cast<int32_t*>(flag_.view().data));
}

void GradientSum::FoldNothing(int index) {
  if (options_.is_sharded) FoldToOwners(index, nullptr);
}

// Bucket by bucket: the owner of a range adds to what it has, the others send what they have.
void GradientSum::FoldToOwners(int index, const float* gradient) {
  layout_.ForEachSliceOf(index, [&](int owner, int64_t begin, int64_t end, int64_t at) {
    for (int64_t first = begin; first < end; first += kBucketElements) {
      const int64_t count = std::min(kBucketElements, end - first);
      const bool is_mine = owner == mesh_.replica();
      const int64_t in_slice = at + first - begin;
      const TensorView sum = is_mine ? Elements(storage_.view(), in_slice, in_slice + count)
                                     : Elements(bucket_.view(), 0, count);
      if (!is_mine) ops_.Fill(AsFloats(sum), 0.0f);
      if (gradient != nullptr) {
        ops_.Accumulate(sum, ConstTensorView(gradient + first, {count}), limit_,
                        static_cast<int32_t*>(flag_.view().data));
      }
      mesh_.replicas().ReduceSum(sum, owner);
    }
  });
}

void GradientSum::Close(int index) {
  if (!is_cut()) return;
  const int64_t end =
      index + 1 < layout_.num_tensors() ? layout_.offset(index + 1) : layout_.total();
  early_.Add(slice_storage_.view(), storage_.view(), layout_.offset(index), end);
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
  const bool is_apart = keeps || is_cut();
  if (is_apart && !slice_storage_) {
    slice_storage_ = pool_.Allocate(storage_.view().dtype, {layout_.slice_size()});
  }
  combined_ = is_apart ? slice_storage_.view() : storage_.view();
  if (early_.has_begun()) {
    early_.Finish();
  } else if (is_cut()) {
    mesh_.replicas().ReduceScatterPartsSum(combined_, storage_.view());
  } else if (is_apart) {
    ops_.Copy(AsFloats(combined_), AsFloats(storage_.view()));
  }
  layout_.ForEachInSlice(
      mesh_.replica(), [&](int tensor, int64_t begin, int64_t end, int64_t offset) {
        GangCommunicator* const holders = mesh_.holders(options_.num_holders[tensor]);
        if (holders == nullptr) return;
        holders->AllReduceSum(Elements(combined_, offset, offset + end - begin));
      });
  // Before the hosts meet: a wait for devices says who is missing, one for hosts does not. Failures
  // stay latched.
  mesh_.Wait().IgnoreError();
  mesh_.gang().AllReduceSum(TensorView(combined_scalars_, DType::kI64, {kNumScalars + 1}));
}

absl::Status GradientSum::CombineAcross(const Rail& rail) {
  rail.devices->AllReduceSum(combined_);
  const absl::Status devices = rail.devices->Wait(absl::InfiniteFuture());
  if (!devices.ok()) rail.hosts->Abort(devices);
  rail.hosts->AllReduceSum(TensorView(combined_scalars_, DType::kI64, {kNumScalars + 1}));
  const absl::Status hosts = rail.hosts->Wait(absl::InfiniteFuture());
  if (!hosts.ok()) rail.devices->Abort(hosts);
  return hosts;
}

void GradientSum::Clear() {
  Reopen();
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
