#include "tensor/plan/plan_device.h"

#include <sys/mman.h>

#include "absl/strings/str_cat.h"

namespace liquid {
namespace {

// Of 128 TiB that a process has. Some have less: by a limit, or under a sanitizer.
constexpr size_t kMostAddresses = size_t{1} << 42;
constexpr size_t kFewestAddresses = size_t{1} << 38;
constexpr size_t kAlignment = 256;

class PlanStream final : public Stream {
 public:
  explicit PlanStream(Device& device) : device_(device) {}
  Device& device() override { return device_; }
  void CopyFromHost(void* /*out*/, const void* /*host*/, size_t /*num_bytes*/) override {}
  void CopyToHost(void* /*host*/, const void* /*in*/, size_t /*num_bytes*/) override {}
  void CopyOnDevice(void* /*out*/, const void* /*in*/, size_t /*num_bytes*/) override {}
  std::unique_ptr<Recording> Record(const std::function<void()>& /*enqueue*/) override {
    return nullptr;
  }
  void WaitFor(Stream& /*other*/) override {}
  absl::Status Synchronize() override { return absl::OkStatus(); }

 private:
  Device& device_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<PlanDevice>> PlanDevice::Create(DeviceType stands_for) {
  for (size_t count = kMostAddresses; count >= kFewestAddresses; count /= 2) {
    void* const addresses =
        mmap(nullptr, count, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (addresses == MAP_FAILED) continue;
    return std::unique_ptr<PlanDevice>(
        new PlanDevice(stands_for, static_cast<std::byte*>(addresses), count));
  }
  return absl::ResourceExhaustedError(
      absl::StrCat("a plan wants ", kFewestAddresses >> 30,
                   " GiB of addresses, which take no memory; lift the limit of the shell with: "
                   "ulimit -v unlimited"));
}

PlanDevice::~PlanDevice() { munmap(addresses_, num_addresses_); }

absl::StatusOr<Buffer> PlanDevice::Take(size_t num_bytes, int64_t* counter) {
  const size_t size = (num_bytes + kAlignment - 1) / kAlignment * kAlignment;
  if (size > num_addresses_ - num_taken_) {
    return absl::ResourceExhaustedError(absl::StrCat("a plan has addresses for ", num_addresses_,
                                                     " bytes, not for ", num_bytes, " more"));
  }
  std::byte* const data = addresses_ + num_taken_;
  num_taken_ += size;
  const auto count = static_cast<int64_t>(num_bytes);
  *counter += count;
  return Buffer(data, [counter, count](std::byte*) { *counter -= count; });
}

absl::StatusOr<Buffer> PlanDevice::Allocate(size_t num_bytes) {
  return Take(num_bytes, &allocated_bytes_);
}

absl::StatusOr<Buffer> PlanDevice::AllocateHost(size_t num_bytes) {
  return Take(num_bytes, &host_bytes_);
}

absl::StatusOr<std::unique_ptr<Stream>> PlanDevice::CreateStream() {
  return std::make_unique<PlanStream>(*this);
}

}  // namespace liquid
