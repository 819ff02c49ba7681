// Places where tensors live and work runs: devices, and their streams.
#ifndef LIQUID_TENSOR_DEVICE_H_
#define LIQUID_TENSOR_DEVICE_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace liquid {

enum class DeviceType { kCpu, kCuda };

class Device;

// Memory of one device, given back when this goes.
using Buffer = std::unique_ptr<std::byte, std::function<void(std::byte*)>>;

// Work of a stream, to be enqueued again and again as a whole: quicker than piece by piece.
class Recording {
 public:
  virtual ~Recording() = default;
  // On the stream that it was recorded on.
  virtual void Enqueue() = 0;
};

// An in-order queue of work on one device. Calls enqueue and return; on a CPU
// they have finished by then. Not thread-safe.
class Stream {
 public:
  virtual ~Stream() = default;
  virtual Device& device() = 0;

  // `host` must stay unchanged until the copy has run.
  virtual void CopyFromHost(void* out, const void* host, size_t num_bytes) = 0;
  virtual void CopyToHost(void* host, const void* in, size_t num_bytes) = 0;
  // Within the device; no overlap.
  virtual void CopyOnDevice(void* out, const void* in, size_t num_bytes) = 0;

  // What `enqueue` enqueues here is recorded, with the addresses and values that it has now, and
  // not run. `enqueue` may neither wait for the device nor copy from or to hosts. Null where
  // devices cannot do that (then `enqueue` is not called), or after a failure.
  virtual std::unique_ptr<Recording> Record(const std::function<void()>& enqueue) = 0;

  // Later work here starts after all work enqueued on `other` so far.
  virtual void WaitFor(Stream& other) = 0;

  // Blocks until all enqueued work has run; the first error that any of it met.
  virtual absl::Status Synchronize() = 0;
};

class Device {
 public:
  virtual ~Device() = default;
  virtual DeviceType type() const = 0;
  // The same in every process that uses this device of this machine: "GPU-" and its UUID in
  // hexadecimal digits; "CPU".
  virtual std::string name() const = 0;
  // False of a plan's device (tensor/plan/): its memory is counted, and never to be touched.
  virtual bool has_memory() const { return true; }
  // Bytes that one rank may hope for if `num_ranks` share it: all of it, what others use included.
  // 0: not known.
  virtual int64_t TotalBytes(int /*num_ranks*/) const { return 0; }

  // `num_bytes` of uninitialised memory, aligned to 256 bytes, already touched where touching
  // costs (a CPU's large pages). ResourceExhausted if the device has not that much left.
  // Slow: never in the path of a step; a step's memory comes from a TensorPool (tensor/pool.h).
  virtual absl::StatusOr<Buffer> Allocate(size_t num_bytes) = 0;

  // Memory of the host, for copies that run while the host goes on: pinned where that matters.
  // Aligned and as slow as Allocate.
  virtual absl::StatusOr<Buffer> AllocateHost(size_t num_bytes) = 0;

  virtual absl::StatusOr<std::unique_ptr<Stream>> CreateStream() = 0;
};

// The CPU, its memory, and the threads of this process's OpenMP team.
std::unique_ptr<Device> CreateCpuDevice();

// GPUs of this machine. Unavailable, with what to do, if there is no driver, or CUDA is not built
// in.
absl::StatusOr<int> CountCudaDevices();
// One of them, 0 <= ordinal < CountCudaDevices(); Unavailable if there is no such device.
absl::StatusOr<std::unique_ptr<Device>> CreateCudaDevice(int ordinal);

}  // namespace liquid

#endif  // LIQUID_TENSOR_DEVICE_H_
