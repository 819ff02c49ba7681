// Tensors of a device as the host sees them: what writes checkpoints, hashes weights and sends
// state to other gangs works on bytes in the host's memory.
#ifndef LIQUID_WORKER_STATE_MIRROR_H_
#define LIQUID_WORKER_STATE_MIRROR_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "tensor/device.h"
#include "tensor/tensor.h"

namespace liquid {

// On a CPU the host sees the tensors themselves: nothing is copied. A GPU's have an image in pinned
// memory, which is what it was when it was last fetched.
class StateMirror {
 public:
  // `tensors`, which do not overlap, and `stream` must outlive this. Memory that cannot be had
  // ends the program, as in a TensorPool.
  StateMirror(Stream& stream, const std::vector<TensorView>& tensors);

  int64_t num_bytes() const { return num_bytes_; }  // of the images; 0 on a CPU

  // Where the host sees what is at `data` in one of the tensors, and what follows it there.
  std::byte* At(const void* data) const;

  // Enqueues a copy of bytes of one of the tensors: from the device to the image, or back.
  void Fetch(const void* data, int64_t num_bytes) const;
  void Store(void* data, int64_t num_bytes) const;
  // The same of all tensors.
  void FetchAll() const;
  void StoreAll() const;
  // Waits for all copies. An error of the device is a bug.
  void Wait() const;

 private:
  struct Image {
    TensorView tensor;
    std::byte* bytes;
  };
  bool is_host() const { return memory_ == nullptr; }

  Stream& stream_;
  std::vector<Image> images_;
  int64_t num_bytes_ = 0;
  Buffer memory_;  // null: the tensors are in the host's memory
};

// One tensor after another, of different places: gradients.
class HostCopy {
 public:
  // `max_bytes`: of a tensor.
  HostCopy(Stream& stream, int64_t max_bytes) : stream_(stream), max_bytes_(max_bytes) {}
  // The bytes of `tensor`, until the next call.
  const std::byte* Of(const ConstTensorView& tensor);

 private:
  Stream& stream_;
  const int64_t max_bytes_;
  Buffer memory_;  // pinned; from the first call on, on a GPU
};

}  // namespace liquid

#endif  // LIQUID_WORKER_STATE_MIRROR_H_
