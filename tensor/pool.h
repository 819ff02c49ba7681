// Device memory that is asked for once and reused for ever.
#ifndef LIQUID_TENSOR_POOL_H_
#define LIQUID_TENSOR_POOL_H_

#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "tensor/device.h"
#include "tensor/tensor.h"

namespace liquid {

class TensorPool;

// A tensor whose memory goes back to its pool when this goes.
class PooledTensor {
 public:
  PooledTensor() = default;
  PooledTensor(PooledTensor&& other) noexcept
      : pool_(std::exchange(other.pool_, nullptr)), view_(std::exchange(other.view_, {})) {}
  PooledTensor& operator=(PooledTensor&& other) noexcept {
    std::swap(pool_, other.pool_);
    std::swap(view_, other.view_);
    return *this;
  }
  ~PooledTensor();

  const TensorView& view() const { return view_; }
  explicit operator bool() const { return view_.data != nullptr; }

 private:
  friend class TensorPool;
  PooledTensor(TensorPool* pool, TensorView view) : pool_(pool), view_(view) {}
  TensorPool* pool_ = nullptr;
  TensorView view_;
};

// Hands out tensors and keeps the memory of returned ones by size. A loop that asks for the same
// sizes again and again therefore allocates in its first round only. Memory is not cleared.
// Running out of device memory here ends the program (ExitOutOfMemory), with the figures: steps have
// no way to go on.
// Not thread-safe. Must outlive its tensors.
class TensorPool {
 public:
  explicit TensorPool(Device& device) : device_(device) {}
  ~TensorPool();
  TensorPool(const TensorPool&) = delete;
  TensorPool& operator=(const TensorPool&) = delete;

  PooledTensor Allocate(DType dtype, const Shape& shape);
  PooledTensor AllocateF32(const Shape& shape) { return Allocate(DType::kF32, shape); }

  int64_t allocated_bytes() const { return allocated_bytes_; }  // asked from the device so far
  int64_t used_bytes() const { return used_bytes_; }            // in living tensors
  // The most that was used at once since the last call of this, or ever.
  int64_t TakePeakUsedBytes() { return std::exchange(peak_used_bytes_, used_bytes_); }

 private:
  friend class PooledTensor;
  void Return(void* data, int64_t num_bytes);

  Device& device_;
  std::vector<Buffer> buffers_;
  std::multimap<int64_t, void*> free_;  // size -> memory
  int64_t allocated_bytes_ = 0;
  int64_t used_bytes_ = 0;
  int64_t peak_used_bytes_ = 0;
};

}  // namespace liquid

#endif  // LIQUID_TENSOR_POOL_H_
