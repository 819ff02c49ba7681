// Atomic operations on global and shared memory.
#ifndef LIQUID_TESTS_EMULATED_CUDA_DEVICE_ATOMICS_H_
#define LIQUID_TESTS_EMULATED_CUDA_DEVICE_ATOMICS_H_

#include <bit>
#include <cstdint>
#include <type_traits>

namespace liquid::emulated {

// Replaces *address by next(*address); returns what was there. Stronger than a GPU's, which orders
// nothing.
template <typename T, typename Next>
T Update(T* address, Next next) {
  using Bits = std::conditional_t<sizeof(T) == 8, uint64_t,
                                  std::conditional_t<sizeof(T) == 4, uint32_t, uint16_t>>;
  static_assert(sizeof(T) == sizeof(Bits));
  auto* bits = reinterpret_cast<Bits*>(address);
  Bits old = __atomic_load_n(bits, __ATOMIC_RELAXED);
  while (!__atomic_compare_exchange_n(bits, &old, std::bit_cast<Bits>(next(std::bit_cast<T>(old))),
                                      false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
  }
  return std::bit_cast<T>(old);
}

}  // namespace liquid::emulated

template <typename T>
T atomicAdd(T* address, std::type_identity_t<T> value) {
  return liquid::emulated::Update(address, [=](T old) { return static_cast<T>(old + value); });
}
template <typename T>
T atomicSub(T* address, std::type_identity_t<T> value) {
  return liquid::emulated::Update(address, [=](T old) { return static_cast<T>(old - value); });
}
template <typename T>
T atomicMax(T* address, std::type_identity_t<T> value) {
  return liquid::emulated::Update(address, [=](T old) { return old < value ? value : old; });
}
template <typename T>
T atomicMin(T* address, std::type_identity_t<T> value) {
  return liquid::emulated::Update(address, [=](T old) { return value < old ? value : old; });
}
template <typename T>
T atomicExch(T* address, std::type_identity_t<T> value) {
  return liquid::emulated::Update(address, [=](T) { return value; });
}
template <typename T>
T atomicAnd(T* address, std::type_identity_t<T> value) {
  return liquid::emulated::Update(address, [=](T old) { return static_cast<T>(old & value); });
}
template <typename T>
T atomicOr(T* address, std::type_identity_t<T> value) {
  return liquid::emulated::Update(address, [=](T old) { return static_cast<T>(old | value); });
}
template <typename T>
T atomicCAS(T* address, std::type_identity_t<T> expected, std::type_identity_t<T> value) {
  return liquid::emulated::Update(address, [=](T old) { return old == expected ? value : old; });
}

#endif  // LIQUID_TESTS_EMULATED_CUDA_DEVICE_ATOMICS_H_
