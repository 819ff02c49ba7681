#include "tests/emulated_cuda/self_test/bugs.h"
#include "tests/emulated_cuda/self_test/expectation.cuh"

namespace liquid::emulated {
namespace {

using cuda::Launch;

__global__ void WriteUpTo(float* x, int last) {
  if (static_cast<int>(threadIdx.x) <= last) x[threadIdx.x] = 1.0f;
}
__global__ void CopyFrom(float* out, const float* in, int offset) {
  out[threadIdx.x] = in[threadIdx.x + offset];
}
__global__ void StaticShared(float* out, int offset) {
  __shared__ float s[32];
  s[threadIdx.x + offset] = 1.0f;
  __syncthreads();
  out[threadIdx.x] = s[threadIdx.x];
}
__global__ void DynamicShared(float* out) {
  auto* s = reinterpret_cast<float*>(cuda::dynamic_shared);
  s[threadIdx.x] = 1.0f;
  __syncthreads();
  out[threadIdx.x] = s[threadIdx.x];
}
__global__ void LocalArray(float* out, int last) {
  float x[8] = {};
  for (int i = 0; i <= last; ++i) x[i] = 1.0f;
  out[threadIdx.x] = x[threadIdx.x % 8];
}
__global__ void SignedOverflow(float* out, int rows) {
  const int columns = 70000;
  out[threadIdx.x] = static_cast<float>(rows * columns);
}
__global__ void MisalignedVector(float* out, const float* in) {
  reinterpret_cast<float4*>(out)[threadIdx.x] =
      *reinterpret_cast<const float4*>(in + 4 * threadIdx.x + 1);
}
// Its upper half is never set.
__global__ void UnsetShared(float* out) {
  __shared__ float s[64];
  if (threadIdx.x < 32) s[threadIdx.x] = 1.0f;
  __syncthreads();
  out[threadIdx.x] = s[threadIdx.x];
}

// An argument is checked at the launch; what the kernel computes from it is not.
__global__ void FillThrough(const uint64_t* address, int count) {
  auto* x = reinterpret_cast<float*>(*address);
  for (int i = static_cast<int>(threadIdx.x); i < count; i += 32) x[i] = 1.0f;
}

template <typename... Parameters, typename... Arguments>
bool FillsWithOnes(int threads, size_t shared_bytes, void (*kernel)(float*, Parameters...),
                   Arguments... arguments) {
  const DeviceArray<float> out(threads);
  Launch(nullptr, dim3(1), threads, shared_bytes, kernel, out.data(), arguments...);
  return AllAre(out, 1.0f);
}

bool UseAfterFree() {
  DeviceArray<float> x(64);
  const DeviceArray<uint64_t> address(std::vector<uint64_t>{reinterpret_cast<uint64_t>(x.data())});
  x.Free();
  Launch(nullptr, dim3(1), 32, 0, FillThrough, address.data(), 64);
  return cudaDeviceSynchronize() == cudaSuccess;
}

bool ReadOneTooFar() {
  const DeviceArray<float> in(Ascending(100));
  const DeviceArray<float> out(100);
  Launch(nullptr, dim3(1), 100, 0, CopyFrom, out.data(), in.data(), 1);
  return out.Values()[99] == 100.0f;
}

bool WriteOneTooFar() {
  const DeviceArray<float> x(100);
  Launch(nullptr, dim3(1), 128, 0, WriteUpTo, x.data(), 100);
  return AllAre(x, 1.0f);
}

bool WriteFarOut() {
  const DeviceArray<float> x(64);
  Launch(nullptr, dim3(1), 128, 0, WriteUpTo, x.data(), 1 << 20);
  return AllAre(x, 1.0f);
}

bool ReadUnset() {
  const DeviceArray<float> in(64);
  const DeviceArray<float> out(64);
  Launch(nullptr, dim3(1), 64, 0, CopyFrom, out.data(), in.data(), 0);
  return AllAre(out, 0.0f);
}

bool ReadMisaligned() {
  const DeviceArray<float> in(Ascending(132));
  const DeviceArray<float> out(128);
  Launch(nullptr, dim3(1), 32, 0, MisalignedVector, out.data(), in.data());
  return out.Values()[0] == 1.0f;
}

bool LoseAnAllocation() {
  void* memory = nullptr;
  return cudaMalloc(&memory, 64) == cudaSuccess;
}

}  // namespace

Bugs BugsOfMemory() {
  return {
      {"write_one_too_far", WriteOneTooFar},
      {"write_far_out", WriteFarOut},
      {"read_one_too_far", ReadOneTooFar},
      {"static_shared_overrun", [] { return FillsWithOnes(32, 0, StaticShared, 1); }},
      {"dynamic_shared_overrun", [] { return FillsWithOnes(128, 127 * 4, DynamicShared); }},
      {"use_after_free", UseAfterFree},
      {"local_array_overrun", [] { return FillsWithOnes(32, 0, LocalArray, 8); }},
      {"signed_overflow", [] { return !FillsWithOnes(32, 0, SignedOverflow, 70000); }},
      {"misaligned_vector", ReadMisaligned},
      {"unset_shared", [] { return FillsWithOnes(64, 0, UnsetShared); }},
      {"unset_global", ReadUnset},
      {"lost_allocation", LoseAnAllocation},
  };
}

}  // namespace liquid::emulated
