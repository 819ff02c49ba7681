// Found before NVIDIA's cuda_bf16.h, which has storage, conversions and arithmetic for host
// compilers as well: adds what it has for nvcc alone.
#ifndef LIQUID_TESTS_EMULATED_CUDA_INCLUDE_CUDA_BF16_H_
#define LIQUID_TESTS_EMULATED_CUDA_INCLUDE_CUDA_BF16_H_

#include_next <cuda_bf16.h>
#include <cuda_runtime.h>

inline __nv_bfloat16 __hfma(__nv_bfloat16 a, __nv_bfloat16 b, __nv_bfloat16 c) {
  return __float2bfloat16(fmaf(__bfloat162float(a), __bfloat162float(b), __bfloat162float(c)));
}
inline __nv_bfloat162 __hfma2(__nv_bfloat162 a, __nv_bfloat162 b, __nv_bfloat162 c) {
  return {__hfma(a.x, b.x, c.x), __hfma(a.y, b.y, c.y)};
}

#endif  // LIQUID_TESTS_EMULATED_CUDA_INCLUDE_CUDA_BF16_H_
