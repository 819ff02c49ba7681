#include "tensor/pool.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/exit_code.h"

namespace liquid {
namespace {

// Sizes are rounded so that tensors of nearly equal size share memory; 256 keeps the alignment.
int64_t RoundedSize(int64_t num_bytes) {
  const int64_t unit = num_bytes >= (int64_t{1} << 20) ? int64_t{1} << 16 : 256;
  return std::max<int64_t>(1, (num_bytes + unit - 1) / unit) * unit;
}

}  // namespace

PooledTensor::~PooledTensor() {
  if (pool_ != nullptr && view_.data != nullptr) pool_->Return(view_.data, view_.NumBytes());
}

TensorPool::~TensorPool() { LIQUID_CHECK(used_bytes_ == 0, used_bytes_, " bytes still in use"); }

PooledTensor TensorPool::Allocate(DType dtype, const Shape& shape) {
  const int64_t size = RoundedSize(shape.NumElements() * SizeOf(dtype));
  used_bytes_ += size;
  peak_used_bytes_ = std::max(peak_used_bytes_, used_bytes_);
  const auto it = free_.find(size);
  if (it != free_.end()) {
    void* data = it->second;
    free_.erase(it);
    return {this, TensorView(data, dtype, shape)};
  }
  auto buffer = device_.Allocate(static_cast<size_t>(size));
  if (absl::IsResourceExhausted(buffer.status())) {
    ExitOutOfMemory(absl::ResourceExhaustedError(
        absl::StrCat(buffer.status().message(), "; a tensor ", shape.ToString(), " of ", size,
                     " bytes beside ", used_bytes_ - size, " bytes of others, of ",
                     allocated_bytes_, " that this pool has")));
  }
  LIQUID_CHECK(buffer.ok(), buffer.status().ToString());
  allocated_bytes_ += size;
  buffers_.push_back(*std::move(buffer));
  return {this, TensorView(buffers_.back().get(), dtype, shape)};
}

void TensorPool::Return(void* data, int64_t num_bytes) {
  const int64_t size = RoundedSize(num_bytes);
  used_bytes_ -= size;
  free_.emplace(size, data);
}

}  // namespace liquid
