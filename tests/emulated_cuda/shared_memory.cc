#include "tests/emulated_cuda/shared_memory.h"

#include <link.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "tests/emulated_cuda/kernel_interface.h"
#include "tests/emulated_cuda/sanitizer.h"

namespace liquid::emulated {
namespace {

constexpr unsigned char kUnset = 0xff;
constexpr unsigned char kCanary = 0xc5;
constexpr size_t kCanaryBytes = 512;

struct Module {
  const void* address;  // of something within it
  void* (*dynamic_shared)();
  size_t dynamic_shared_bytes;
};

std::vector<Module>& Modules() {
  static auto* const modules = new std::vector<Module>;
  return *modules;
}

bool Contains(const dl_phdr_info& library, const void* address) {
  const auto at = reinterpret_cast<uintptr_t>(address);
  for (int i = 0; i < library.dlpi_phnum; ++i) {
    const auto& segment = library.dlpi_phdr[i];
    const auto begin = static_cast<uintptr_t>(library.dlpi_addr + segment.p_vaddr);
    if (segment.p_type == PT_LOAD && at >= begin && at < begin + segment.p_memsz) return true;
  }
  return false;
}

// The thread_local variables of each module, in this OS thread.
std::vector<SharedMemory::Range> ThreadLocalSegments() {
  std::vector<SharedMemory::Range> segments;
  const auto visit = [](dl_phdr_info* library, size_t, void* result) {
    const bool is_ours =
        std::any_of(Modules().begin(), Modules().end(),
                    [library](const Module& module) { return Contains(*library, module.address); });
    for (int i = 0; is_ours && i < library->dlpi_phnum; ++i) {
      const auto& segment = library->dlpi_phdr[i];
      if (segment.p_type != PT_TLS || library->dlpi_tls_data == nullptr) continue;
      static_cast<std::vector<SharedMemory::Range>*>(result)->push_back(
          {static_cast<unsigned char*>(library->dlpi_tls_data), segment.p_memsz});
    }
    return 0;
  };
  dl_iterate_phdr(visit, &segments);
  return segments;
}

// `ranges` without `hole`.
std::vector<SharedMemory::Range> Without(const std::vector<SharedMemory::Range>& ranges,
                                         const SharedMemory::Range& hole) {
  std::vector<SharedMemory::Range> result;
  for (const auto& range : ranges) {
    unsigned char* const end = range.begin + range.bytes;
    if (hole.begin < range.begin || hole.begin >= end) {
      result.push_back(range);
      continue;
    }
    unsigned char* const hole_end = hole.begin + hole.bytes;
    result.push_back({range.begin, static_cast<size_t>(hole.begin - range.begin)});
    result.push_back({hole_end, static_cast<size_t>(end - hole_end)});
  }
  return result;
}

}  // namespace

KernelModule::KernelModule(void* (*dynamic_shared)(), size_t dynamic_shared_bytes) {
  Modules().push_back({this, dynamic_shared, dynamic_shared_bytes});
}

SharedMemory::SharedMemory(size_t dynamic_bytes) : dynamic_bytes_(dynamic_bytes) {
  // The first access of an OS thread makes its copy of the segment.
  for (const Module& module : Modules()) {
    dynamic_arrays_.push_back(
        {static_cast<unsigned char*>(module.dynamic_shared()), module.dynamic_shared_bytes});
  }
  static_arrays_ = ThreadLocalSegments();
  for (const Range& array : dynamic_arrays_) {
    static_arrays_ = Without(static_arrays_, array);
    Unpoison(array.begin, array.bytes);
    Poison(array.begin + dynamic_bytes_, array.bytes - dynamic_bytes_);
  }
}

SharedMemory::~SharedMemory() {
  for (const Range& array : dynamic_arrays_) Unpoison(array.begin, array.bytes);
}

void SharedMemory::BeginBlock() {
  for (const Range& range : static_arrays_) memset(range.begin, kUnset, range.bytes);
  for (const Range& array : dynamic_arrays_) {
    memset(array.begin, kUnset, dynamic_bytes_);
    if (kAsan) continue;
    memset(array.begin + dynamic_bytes_, kCanary,
           std::min(kCanaryBytes, array.bytes - dynamic_bytes_));
  }
}

bool SharedMemory::IsIntact() const {
  if (kAsan) return true;
  return std::all_of(dynamic_arrays_.begin(), dynamic_arrays_.end(), [this](const Range& array) {
    const unsigned char* canary = array.begin + dynamic_bytes_;
    return std::all_of(canary, canary + std::min(kCanaryBytes, array.bytes - dynamic_bytes_),
                       [](unsigned char byte) { return byte == kCanary; });
  });
}

}  // namespace liquid::emulated
