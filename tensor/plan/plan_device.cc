#include "tensor/plan/plan_device.h"

#include <sys/mman.h>

#include "absl/strings/str_cat.h"

namespace liquid {
namespace {

constexpr size_t kNumAddresses = size_t{1} << 42;  // 4 TiB: of 128 that a process has
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
  void* const addresses =
      mmap(nullptr, kNumAddresses, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (addresses == MAP_FAILED) {
    return absl::ResourceExhaustedError(
        absl::StrCat("a plan wants ", kNumAddresses >> 40,
                     " TiB of addresses, which take no memory; lift the "
                     "limit of the shell with: ulimit -v unlimited"));
  }
  return std::unique_ptr<PlanDevice>(
      new PlanDevice(stands_for, static_cast<std::byte*>(addresses)));
}

PlanDevice::~PlanDevice() { munmap(addresses_, kNumAddresses); }

absl::StatusOr<Buffer> PlanDevice::Take(size_t num_bytes, int64_t* counter) {
  const size_t size = (num_bytes + kAlignment - 1) / kAlignment * kAlignment;
  if (size > kNumAddresses - num_taken_) {
    return absl::ResourceExhaustedError(absl::StrCat("a plan has addresses for ", kNumAddresses,
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
