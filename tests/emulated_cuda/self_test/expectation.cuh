// Runs a kernel on 0, 1, 2 ... and compares what it yields.
#ifndef LIQUID_TESTS_EMULATED_CUDA_SELF_TEST_EXPECTATION_CUH_
#define LIQUID_TESTS_EMULATED_CUDA_SELF_TEST_EXPECTATION_CUH_

#include <numeric>
#include <vector>

#include "kernels/cuda/device/launch.cuh"
#include "tests/emulated_cuda/self_test/device_array.h"

namespace liquid::emulated {

using ArrayKernel = void (*)(float* out, const float* in);

inline std::vector<float> Ascending(int count) {
  std::vector<float> values(count);
  std::iota(values.begin(), values.end(), 0.0f);
  return values;
}

// Whether out[i] == expected(i) for i < count. in [512], out [1024].
template <typename Expected>
bool Yields(ArrayKernel kernel, int blocks, int threads, int count, Expected expected) {
  const DeviceArray<float> in(Ascending(512));
  const DeviceArray<float> out(1024);
  cudaMemset(out.data(), 0, sizeof(float));
  cuda::Launch(nullptr, dim3(static_cast<unsigned>(blocks)), threads, 0, kernel, out.data(),
               in.data());
  const std::vector<float> values = out.Values();
  for (int i = 0; i < count; ++i) {
    if (!(values[i] == expected(i))) return false;
  }
  return true;
}

inline bool AllAre(const DeviceArray<float>& array, float value) {
  for (const float x : array.Values()) {
    if (!(x == value)) return false;
  }
  return true;
}

}  // namespace liquid::emulated

#endif  // LIQUID_TESTS_EMULATED_CUDA_SELF_TEST_EXPECTATION_CUH_
