// Compiled for any machine, unlike the other sources of this folder.
#include "base/check.h"
#include "kernels/cpu/simd/loops.h"

namespace liquid {

namespace x86_64_v4 {
const SimdLoops& Loops();
}
namespace x86_64_v3 {
const SimdLoops& Loops();
}

const SimdLoops* SimdLoopsAt(int index) {
  __builtin_cpu_init();
  const bool has_v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                      __builtin_cpu_supports("bmi2");
  const bool has_v4 = has_v3 && __builtin_cpu_supports("avx512f") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  LIQUID_CHECK(has_v3, "this processor has no AVX2 and FMA, which the CPU kernels need");
  if (has_v4 && index == 0) return &x86_64_v4::Loops();
  return index == (has_v4 ? 1 : 0) ? &x86_64_v3::Loops() : nullptr;
}

}  // namespace liquid
