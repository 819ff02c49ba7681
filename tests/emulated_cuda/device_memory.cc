#include "tests/emulated_cuda/device_memory.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <vector>

#include "tests/emulated_cuda/fault.h"
#include "tests/emulated_cuda/options.h"
#include "tests/emulated_cuda/sanitizer.h"

namespace liquid::emulated {
namespace {

constexpr size_t kPage = 4096;
constexpr size_t kAlignment = 256;
constexpr int kUnset = 0xff;
constexpr unsigned char kCanary = 0xc5;
// Of the freed ones so many stay mapped, inaccessible, to name a use after free.
constexpr size_t kMaxFreed = 4096;

using Allocations = std::map<uintptr_t, Allocation>;  // by address

struct Memory {
  Allocations live;
  Allocations freed;
  std::map<uintptr_t, size_t> pinned;
  std::map<int, size_t> bytes_in_use;  // by device
  int num_windows = 0;
  std::vector<Allocation> opened;  // in the window that there is, if windows open on a fault
  bool is_exiting = false;
};

// A window need not open all that there is: a fault tells what work of the device comes to.
// Sanitizers have handlers of their own, and racing blocks would race there.
bool OpensOnFault() {
  static const bool opens = !kAsan && !kTsan && !GetOptions().race_blocks;
  return opens;
}
thread_local int num_own_windows = 0;  // of this thread

Memory& TheMemory() {
  static auto* const memory = new Memory;  // never destroyed: some free after main
  return *memory;
}

// LeakSanitizer shall see no pointers here: what the program has lost is lost.
void ForgetAtExit() {
  TheMemory().is_exiting = true;
  TheMemory().live.clear();
}

size_t RoundUp(size_t bytes, size_t multiple) {
  return (bytes + multiple - 1) / multiple * multiple;
}

void SetAccessible(const Allocation& allocation, bool accessible) {
  if (!GetOptions().host_guard) return;
  if constexpr (kAsan) {
    (accessible ? Unpoison : Poison)(allocation.begin, allocation.bytes);
  } else {
    mprotect(allocation.mapping + kPage, allocation.mapping_bytes - 2 * kPage,
             accessible ? PROT_READ | PROT_WRITE : PROT_NONE);
  }
}

bool MapWithGuards(Allocation& allocation) {
  const size_t usable = RoundUp(allocation.bytes, kAlignment);
  const size_t body = RoundUp(usable, kPage);
  void* mapping = mmap(nullptr, body + 2 * kPage, PROT_NONE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapping == MAP_FAILED) return false;
  allocation.mapping = static_cast<char*>(mapping);
  allocation.mapping_bytes = body + 2 * kPage;
  if (mprotect(allocation.mapping + kPage, body, PROT_READ | PROT_WRITE) != 0) return false;
  allocation.begin = allocation.mapping + kPage + body - usable;
  memset(allocation.begin + allocation.bytes, kCanary, usable - allocation.bytes);
  return true;
}

bool AllocateFromHeap(Allocation& allocation) {
  static const int once = atexit(ForgetAtExit);
  static_cast<void>(once);
  void* begin = nullptr;
  if (posix_memalign(&begin, kAlignment, allocation.bytes) != 0) return false;
  allocation.begin = static_cast<char*>(begin);
  return true;
}

void CheckCanary(const Allocation& allocation) {
  if (kAsan) return;
  const char* const end = allocation.begin + allocation.bytes;
  for (const char* at = end; at < allocation.mapping + allocation.mapping_bytes - kPage; ++at) {
    if (static_cast<unsigned char>(*at) == kCanary) continue;
    ReportFault("global memory overrun: byte " + std::to_string(at - end) + " past the end of a " +
                std::to_string(allocation.bytes) + " byte allocation was written");
    return;
  }
}

void Unmap(const Allocation& allocation) {
  Memory& memory = TheMemory();
  // Fresh pages: the old ones go back to the system, and the addresses stay taken.
  mmap(allocation.mapping, allocation.mapping_bytes, PROT_NONE,
       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
  memory.freed[reinterpret_cast<uintptr_t>(allocation.mapping)] = allocation;
  if (memory.freed.size() <= kMaxFreed) return;
  const Allocation oldest = memory.freed.begin()->second;
  munmap(oldest.mapping, oldest.mapping_bytes);
  memory.freed.erase(memory.freed.begin());
}

const Allocation* LastAtOrBefore(const Allocations& allocations, const void* address) {
  const auto next = allocations.upper_bound(reinterpret_cast<uintptr_t>(address));
  return next == allocations.begin() ? nullptr : &std::prev(next)->second;
}

// Between the guard pages.
bool IsInBody(const Allocation& allocation, const char* address) {
  return address >= allocation.mapping + kPage &&
         address < allocation.mapping + allocation.mapping_bytes - kPage;
}

bool IsInMapping(const Allocation& allocation, const char* address) {
  return allocation.mapping != nullptr && address >= allocation.mapping &&
         address < allocation.mapping + allocation.mapping_bytes;
}

}  // namespace

cudaError_t Allocate(void** result, size_t bytes, int device) {
  Memory& memory = TheMemory();
  *result = nullptr;
  if (bytes == 0) return cudaSuccess;
  if (bytes > GetOptions().device_bytes - memory.bytes_in_use[device]) {
    return cudaErrorMemoryAllocation;
  }
  Allocation allocation;
  allocation.bytes = bytes;
  allocation.device = device;
  CatchAddressFaults();
  if (!(kAsan ? AllocateFromHeap(allocation) : MapWithGuards(allocation))) {
    return cudaErrorMemoryAllocation;
  }
  memset(allocation.begin, kUnset, bytes);
  if (memory.num_windows == 0) {
    SetAccessible(allocation, false);
  } else if (OpensOnFault()) {
    memory.opened.push_back(allocation);
  }
  memory.live[reinterpret_cast<uintptr_t>(allocation.begin)] = allocation;
  memory.bytes_in_use[device] += bytes;
  *result = allocation.begin;
  return cudaSuccess;
}

cudaError_t Deallocate(void* address) {
  Memory& memory = TheMemory();
  if (address == nullptr) return cudaSuccess;
  const auto found = memory.live.find(reinterpret_cast<uintptr_t>(address));
  if (found == memory.live.end()) {
    return memory.is_exiting ? cudaSuccess : cudaErrorInvalidValue;
  }
  const Allocation allocation = found->second;
  memory.live.erase(found);
  std::erase_if(memory.opened,
                [address](const Allocation& opened) { return opened.begin == address; });
  memory.bytes_in_use[allocation.device] -= allocation.bytes;
  SetAccessible(allocation, true);
  if (kAsan) {
    free(allocation.begin);
  } else {
    CheckCanary(allocation);
    Unmap(allocation);
  }
  return cudaSuccess;
}

size_t BytesInUse(int device) { return TheMemory().bytes_in_use[device]; }

const Allocation* FindAllocation(const void* address) {
  const Allocation* allocation = LastAtOrBefore(TheMemory().live, address);
  return allocation != nullptr && address < allocation->begin + allocation->bytes ? allocation
                                                                                  : nullptr;
}

bool IsDeviceRange(const void* begin, size_t bytes) {
  if (bytes == 0) return true;
  const Allocation* allocation = FindAllocation(begin);
  return allocation != nullptr &&
         bytes <= static_cast<size_t>(allocation->begin + allocation->bytes -
                                      static_cast<const char*>(begin));
}

bool IsEndOfAllocation(const void* address) {
  const Allocation* allocation =
      LastAtOrBefore(TheMemory().live, static_cast<const char*>(address) - 1);
  return allocation != nullptr && address == allocation->begin + allocation->bytes;
}

cudaError_t AllocatePinned(void** result, size_t bytes) {
  void* address = nullptr;
  if (posix_memalign(&address, kPage, bytes) != 0) return cudaErrorMemoryAllocation;
  TheMemory().pinned[reinterpret_cast<uintptr_t>(address)] = bytes;
  *result = address;
  return cudaSuccess;
}

cudaError_t DeallocatePinned(void* address) {
  if (address == nullptr) return cudaSuccess;
  if (TheMemory().pinned.erase(reinterpret_cast<uintptr_t>(address)) == 0) {
    return cudaErrorInvalidValue;
  }
  free(address);
  return cudaSuccess;
}

bool IsPinned(const void* address) {
  const auto& pinned = TheMemory().pinned;
  const auto at = reinterpret_cast<uintptr_t>(address);
  const auto next = pinned.upper_bound(at);
  if (next == pinned.begin()) return false;
  const auto& [begin, bytes] = *std::prev(next);
  return at < begin + bytes;
}

DeviceMemoryWindow::DeviceMemoryWindow() {
  Memory& memory = TheMemory();
  ++num_own_windows;
  if (memory.num_windows++ > 0 || OpensOnFault()) return;
  for (const auto& [begin, allocation] : memory.live) SetAccessible(allocation, true);
}

DeviceMemoryWindow::~DeviceMemoryWindow() {
  Memory& memory = TheMemory();
  --num_own_windows;
  if (--memory.num_windows > 0) return;
  if (OpensOnFault()) {
    for (const Allocation& allocation : memory.opened) SetAccessible(allocation, false);
    memory.opened.clear();
    return;
  }
  for (const auto& [begin, allocation] : memory.live) SetAccessible(allocation, false);
}

bool OpenInWindow(const void* address) {
  Memory& memory = TheMemory();
  if (!OpensOnFault() || num_own_windows == 0 || !GetOptions().host_guard) return false;
  const auto* at = static_cast<const char*>(address);
  // The body begins up to a page before the allocation, and a guard page is between two of them.
  const Allocation* allocation = LastAtOrBefore(memory.live, at + kPage);
  if (allocation == nullptr || !IsInBody(*allocation, at)) return false;
  SetAccessible(*allocation, true);
  memory.opened.push_back(*allocation);
  return true;
}

// What was not opened was not written to.
void CheckCanaries() {
  const Memory& memory = TheMemory();
  if (OpensOnFault() && GetOptions().host_guard) {
    for (const Allocation& allocation : memory.opened) CheckCanary(allocation);
    return;
  }
  for (const auto& [begin, allocation] : memory.live) CheckCanary(allocation);
}

std::string DescribeAddress(const void* address) {
  const auto* at = static_cast<const char*>(address);
  const auto bytes = [](ptrdiff_t count) { return std::to_string(count) + " bytes"; };
  if (const Allocation* allocation = FindAllocation(at)) {
    return "offset " + std::to_string(at - allocation->begin) + " of a live " +
           std::to_string(allocation->bytes) + " byte device allocation";
  }
  for (const auto& [begin, allocation] : TheMemory().live) {
    if (!IsInMapping(allocation, at)) continue;
    const char* const end = allocation.begin + allocation.bytes;
    return (at < allocation.begin ? bytes(allocation.begin - at) + " before"
                                  : bytes(at - end) + " past the end of") +
           " a " + std::to_string(allocation.bytes) + " byte device allocation";
  }
  for (const auto& [begin, allocation] : TheMemory().freed) {
    if (!IsInMapping(allocation, at)) continue;
    return "inside a FREED " + std::to_string(allocation.bytes) + " byte device allocation";
  }
  return "not device memory";
}

}  // namespace liquid::emulated
