// A CUDA stream as a Stream, for those who enqueue on it: kernels, collectives.
#ifndef LIQUID_TENSOR_CUDA_CUDA_STREAM_H_
#define LIQUID_TENSOR_CUDA_CUDA_STREAM_H_

#include <cuda_runtime_api.h>

#include <functional>
#include <memory>
#include <string_view>

#include "absl/status/status.h"
#include "tensor/device.h"

namespace liquid {

class CudaStream : public Stream {
 public:
  virtual cudaStream_t native() const = 0;
  // Takes the return code of a call that enqueues here. The first failure is latched, and is what
  // Synchronize() returns.
  virtual void Latch(cudaError_t code, std::string_view what) = 0;
  // The same for another library's.
  virtual void Latch(absl::Status status) = 0;

  // `watch` is called again and again while the host waits for this stream: it may end what that waits
  // for, such as a collective whose peer is gone. One for each `owner`; null: none any more.
  virtual void SetWatch(const void* owner, std::function<void()> watch) = 0;
  // Calls them, and those of streams that this one waits for.
  virtual void Watch() = 0;
};

// REQUIRES: stream.device().type() == kCuda.
inline CudaStream& AsCudaStream(Stream& stream) { return static_cast<CudaStream&>(stream); }

}  // namespace liquid

#endif  // LIQUID_TENSOR_CUDA_CUDA_STREAM_H_
