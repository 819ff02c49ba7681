// Places where tensors live and work runs: devices, and their streams.
#ifndef LIQUID_TENSOR_DEVICE_H_
#define LIQUID_TENSOR_DEVICE_H_

#include <cstddef>
#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace liquid {

enum class DeviceType { kCpu };

class Device;

// Memory of one device, given back when this goes.
using Buffer = std::unique_ptr<std::byte, std::function<void(std::byte*)>>;

// An in-order queue of work on one device. Calls enqueue and return; on a CPU
// they have finished by then. Not thread-safe.
class Stream {
 public:
  virtual ~Stream() = default;
  virtual Device& device() = 0;

  // `host` must stay unchanged until the copy has run.
  virtual void CopyFromHost(void* out, const void* host, size_t num_bytes) = 0;
  virtual void CopyToHost(void* host, const void* in, size_t num_bytes) = 0;

  // Later work here starts after all work enqueued on `other` so far.
  virtual void WaitFor(Stream& other) = 0;

  // Blocks until all enqueued work has run; the first error that any of it met.
  virtual absl::Status Synchronize() = 0;
};

class Device {
 public:
  virtual ~Device() = default;
  virtual DeviceType type() const = 0;

  // `num_bytes` of uninitialised memory, aligned to 256 bytes, already touched where touching
  // costs (a CPU's large pages). ResourceExhausted if the device has not that much left.
  // Slow: never in the path of a step; a step's memory comes from a TensorPool (tensor/pool.h).
  virtual absl::StatusOr<Buffer> Allocate(size_t num_bytes) = 0;

  virtual absl::StatusOr<std::unique_ptr<Stream>> CreateStream() = 0;
};

// The CPU, its memory, and the threads of this process's OpenMP team.
std::unique_ptr<Device> CreateCpuDevice();

}  // namespace liquid

#endif  // LIQUID_TENSOR_DEVICE_H_
