#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <limits>
#include <new>

#include "absl/strings/str_cat.h"
#include "tensor/device.h"

namespace liquid {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;
constexpr std::align_val_t kAlignment{256};

// Of nothing, from nowhere, is allowed.
void Copy(void* to, const void* from, size_t num_bytes) {
  if (num_bytes > 0) std::memcpy(to, from, num_bytes);
}

class CpuStream final : public Stream {
 public:
  explicit CpuStream(Device& device) : device_(device) {}
  Device& device() override { return device_; }
  void CopyFromHost(void* out, const void* host, size_t num_bytes) override {
    Copy(out, host, num_bytes);
  }
  void CopyToHost(void* host, const void* in, size_t num_bytes) override {
    Copy(host, in, num_bytes);
  }
  void CopyOnDevice(void* out, const void* in, size_t num_bytes) override {
    Copy(out, in, num_bytes);
  }
  std::unique_ptr<Recording> Record(const std::function<void()>& /*enqueue*/) override {
    return nullptr;
  }
  void WaitFor(Stream& /*other*/) override {}
  absl::Status Synchronize() override { return absl::OkStatus(); }

 private:
  Device& device_;
};

absl::Status OutOfMemory(size_t num_bytes) {
  return absl::ResourceExhaustedError(
      absl::StrCat("host memory: cannot get ", num_bytes, " bytes"));
}

// Whole huge pages, touched here: a first touch inside a step would cost more than the computing.
absl::StatusOr<Buffer> AllocateHugePages(size_t num_bytes) {
  const size_t size = (num_bytes + kHugePage - 1) / kHugePage * kHugePage;
  const size_t reserved = size + kHugePage;  // room to align
  void* raw = mmap(nullptr, reserved, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (raw == MAP_FAILED) return OutOfMemory(num_bytes);
  const auto address = reinterpret_cast<uintptr_t>(raw);
  const uintptr_t aligned = (address + kHugePage - 1) / kHugePage * kHugePage;
  auto* data = reinterpret_cast<std::byte*>(aligned);
  madvise(data, size, MADV_HUGEPAGE);  // advice: where it is not taken, pages are small
  std::memset(data, 0, size);
  return Buffer(data, [raw, reserved](std::byte*) { munmap(raw, reserved); });
}

// What this process's control group may use, by either version of them; the machine has it all if
// the files are not there, or say "max".
int64_t LimitOfGroup() {
  int64_t limit = std::numeric_limits<int64_t>::max();
  for (const char* path :
       {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"}) {
    int64_t bytes = 0;
    if (std::ifstream(path) >> bytes && bytes > 0) limit = std::min(limit, bytes);
  }
  return limit;
}

class CpuDevice final : public Device {
 public:
  DeviceType type() const override { return DeviceType::kCpu; }
  std::string name() const override { return "CPU"; }
  int64_t TotalBytes(int num_ranks) const override {
    const int64_t all = int64_t{sysconf(_SC_PHYS_PAGES)} * sysconf(_SC_PAGESIZE);
    return std::min(all, LimitOfGroup()) / std::max(1, num_ranks);
  }

  absl::StatusOr<Buffer> Allocate(size_t num_bytes) override {
    if (num_bytes >= kHugePage) return AllocateHugePages(num_bytes);
    void* data = ::operator new(num_bytes, kAlignment, std::nothrow);
    if (data == nullptr) return OutOfMemory(num_bytes);
    return Buffer(static_cast<std::byte*>(data),
                  [](std::byte* p) { ::operator delete(p, kAlignment); });
  }

  absl::StatusOr<Buffer> AllocateHost(size_t num_bytes) override { return Allocate(num_bytes); }

  absl::StatusOr<std::unique_ptr<Stream>> CreateStream() override {
    return std::make_unique<CpuStream>(*this);
  }
};

}  // namespace

std::unique_ptr<Device> CreateCpuDevice() { return std::make_unique<CpuDevice>(); }

}  // namespace liquid
