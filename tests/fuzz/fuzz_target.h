// What a fuzz target is: one function that takes any bytes and must not crash, hang, leak or break
// a promise of the code under it. libFuzzer calls it (tools/fuzz), and so does corpus_runner.cc.
#ifndef LIQUID_TESTS_FUZZ_FUZZ_TARGET_H_
#define LIQUID_TESTS_FUZZ_FUZZ_TARGET_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

// Returns 0. The name and the type are libFuzzer's.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace liquid {

inline std::string_view AsText(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

}  // namespace liquid

#endif  // LIQUID_TESTS_FUZZ_FUZZ_TARGET_H_
