// A device without memory, to find out what a program would ask of a real one.
#ifndef LIQUID_TENSOR_PLAN_PLAN_DEVICE_H_
#define LIQUID_TENSOR_PLAN_PLAN_DEVICE_H_

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "tensor/device.h"

namespace liquid {

// What is allocated here has addresses of its own, which no one may read or write: a touch ends the
// program. Work of its streams is not done: what would be copied to the host stays as it is there.
// It says that it is of the type that it stands for, so that code on it takes the same branches.
// Not thread-safe, but for its streams.
class PlanDevice final : public Device {
 public:
  // ResourceExhausted if the process may not have so many addresses (RLIMIT_AS).
  static absl::StatusOr<std::unique_ptr<PlanDevice>> Create(DeviceType stands_for);
  ~PlanDevice() override;

  DeviceType type() const override { return type_; }
  std::string name() const override { return "plan"; }
  bool has_memory() const override { return false; }
  absl::StatusOr<Buffer> Allocate(size_t num_bytes) override;
  absl::StatusOr<Buffer> AllocateHost(size_t num_bytes) override;
  absl::StatusOr<std::unique_ptr<Stream>> CreateStream() override;

  int64_t allocated_bytes() const { return allocated_bytes_; }  // that are not given back
  int64_t host_bytes() const { return host_bytes_; }            // the same of AllocateHost

 private:
  PlanDevice(DeviceType type, std::byte* addresses, size_t num_addresses)
      : type_(type), addresses_(addresses), num_addresses_(num_addresses) {}
  absl::StatusOr<Buffer> Take(size_t num_bytes, int64_t* counter);

  const DeviceType type_;
  std::byte* const addresses_;
  const size_t num_addresses_;
  size_t num_taken_ = 0;  // addresses are not used twice
  int64_t allocated_bytes_ = 0;
  int64_t host_bytes_ = 0;
};

}  // namespace liquid

#endif  // LIQUID_TENSOR_PLAN_PLAN_DEVICE_H_
