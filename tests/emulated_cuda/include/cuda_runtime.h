// Found before NVIDIA's cuda_runtime.h: takes every type and prototype from it, and adds what nvcc
// has built in.
#ifndef LIQUID_TESTS_EMULATED_CUDA_INCLUDE_CUDA_RUNTIME_H_
#define LIQUID_TESTS_EMULATED_CUDA_INCLUDE_CUDA_RUNTIME_H_

#define cudaLaunchKernelEx liquid_emulated_not_this_one
#include_next <cuda_runtime.h>
#undef cudaLaunchKernelEx

// One word that serves `__shared__ T x[8];` within a function, where it is implicitly static, and
// `extern __shared__ T x[];` alike, and whose variables a module has all in one place.
#undef __shared__
#define __shared__ thread_local
#undef __launch_bounds__
#define __launch_bounds__(...)

#include "tests/emulated_cuda/device_atomics.h"
#include "tests/emulated_cuda/device_functions.h"
#include "tests/emulated_cuda/device_math.h"
#include "tests/emulated_cuda/typed_launch.h"

#endif  // LIQUID_TESTS_EMULATED_CUDA_INCLUDE_CUDA_RUNTIME_H_
