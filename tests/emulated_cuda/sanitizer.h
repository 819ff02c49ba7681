// The calls by which the emulation tells a sanitizer what it does; empty in other builds. The files
// of the emulation itself are not instrumented for ThreadSanitizer: to it there are only CUDA
// threads, each a logical thread of its own, and what orders them.
#ifndef LIQUID_TESTS_EMULATED_CUDA_SANITIZER_H_
#define LIQUID_TESTS_EMULATED_CUDA_SANITIZER_H_

#include <cstddef>

#ifdef LIQUID_EMULATED_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef LIQUID_EMULATED_TSAN
#include <sanitizer/tsan_interface.h>
#endif

namespace liquid::emulated {

#ifdef LIQUID_EMULATED_ASAN
inline constexpr bool kAsan = true;
inline void Poison(void* address, size_t bytes) { __asan_poison_memory_region(address, bytes); }
inline void Unpoison(void* address, size_t bytes) { __asan_unpoison_memory_region(address, bytes); }
// Around a switch to the stack [bottom, bottom + bytes).
inline void BeginStackSwitch(void** fake_stack, const void* bottom, size_t bytes) {
  __sanitizer_start_switch_fiber(fake_stack, bottom, bytes);
}
// Says which stack was left.
inline void EndStackSwitch(void* fake_stack, const void** bottom, size_t* bytes) {
  __sanitizer_finish_switch_fiber(fake_stack, bottom, bytes);
}
#else
inline constexpr bool kAsan = false;
inline void Poison(void*, size_t) {}
inline void Unpoison(void*, size_t) {}
inline void BeginStackSwitch(void**, const void*, size_t) {}
inline void EndStackSwitch(void*, const void**, size_t*) {}
#endif

using LogicalThread = void*;
#ifdef LIQUID_EMULATED_TSAN
inline constexpr bool kTsan = true;
inline LogicalThread NewLogicalThread() { return __tsan_create_fiber(0); }
inline LogicalThread CurrentLogicalThread() { return __tsan_get_current_fiber(); }
// Orders nothing.
inline void BecomeLogicalThread(LogicalThread thread) {
  __tsan_switch_to_fiber(thread, __tsan_switch_to_fiber_no_sync);
}
// What comes before a Release happens before what follows an Acquire of the same address.
inline void Release(void* address) { __tsan_release(address); }
inline void Acquire(void* address) { __tsan_acquire(address); }
#else
inline constexpr bool kTsan = false;
inline LogicalThread NewLogicalThread() { return nullptr; }
inline LogicalThread CurrentLogicalThread() { return nullptr; }
inline void BecomeLogicalThread(LogicalThread) {}
inline void Release(void*) {}
inline void Acquire(void*) {}
#endif

}  // namespace liquid::emulated

#endif  // LIQUID_TESTS_EMULATED_CUDA_SANITIZER_H_
