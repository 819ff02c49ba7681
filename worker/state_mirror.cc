#include "worker/state_mirror.h"

#include <cstring>
#include <utility>

#include "base/check.h"
#include "base/exit_code.h"

namespace liquid {
namespace {

Buffer PinnedMemory(Stream& stream, int64_t num_bytes) {
  auto memory = stream.device().AllocateHost(static_cast<size_t>(num_bytes));
  if (absl::IsResourceExhausted(memory.status())) ExitOutOfMemory(memory.status());
  LIQUID_CHECK(memory.ok(), memory.status().ToString());
  return *std::move(memory);
}

void WaitFor(Stream& stream) {
  const absl::Status status = stream.Synchronize();
  LIQUID_CHECK(status.ok(), status.ToString());
}

}  // namespace

StateMirror::StateMirror(Stream& stream, const std::vector<TensorView>& tensors) : stream_(stream) {
  const bool is_on_host = stream.device().type() == DeviceType::kCpu;
  if (!is_on_host) {
    for (const TensorView& tensor : tensors) num_bytes_ += tensor.NumBytes();
    memory_ = PinnedMemory(stream, num_bytes_);
    // What lies between tensors is 0.
    if (stream.device().has_memory()) {
      std::memset(memory_.get(), 0, static_cast<size_t>(num_bytes_));
    }
  }
  std::byte* next = memory_.get();
  for (const TensorView& tensor : tensors) {
    images_.push_back({tensor, is_on_host ? static_cast<std::byte*>(tensor.data) : next});
    if (!is_on_host) next += tensor.NumBytes();
  }
}

std::byte* StateMirror::At(const void* data) const {
  for (const Image& image : images_) {
    const int64_t offset =
        static_cast<const std::byte*>(data) - static_cast<const std::byte*>(image.tensor.data);
    if (offset >= 0 && offset < image.tensor.NumBytes()) return image.bytes + offset;
  }
  LIQUID_CHECK(false, "no tensor of the state");
}

void StateMirror::Fetch(const void* data, int64_t num_bytes) const {
  if (!is_host()) stream_.CopyToHost(At(data), data, static_cast<size_t>(num_bytes));
}

void StateMirror::Store(void* data, int64_t num_bytes) const {
  if (!is_host()) stream_.CopyFromHost(data, At(data), static_cast<size_t>(num_bytes));
}

void StateMirror::FetchAll() const {
  for (const Image& image : images_) Fetch(image.tensor.data, image.tensor.NumBytes());
}

void StateMirror::StoreAll() const {
  for (const Image& image : images_) Store(image.tensor.data, image.tensor.NumBytes());
}

void StateMirror::Wait() const {
  if (!is_host()) WaitFor(stream_);
}

const std::byte* HostCopy::Of(const ConstTensorView& tensor) {
  if (stream_.device().type() == DeviceType::kCpu) {
    return static_cast<const std::byte*>(tensor.data);
  }
  LIQUID_CHECK(tensor.NumBytes() <= max_bytes_, tensor.NumBytes());
  if (memory_ == nullptr) memory_ = PinnedMemory(stream_, max_bytes_);
  stream_.CopyToHost(memory_.get(), tensor.data, static_cast<size_t>(tensor.NumBytes()));
  WaitFor(stream_);
  return memory_.get();
}

}  // namespace liquid
