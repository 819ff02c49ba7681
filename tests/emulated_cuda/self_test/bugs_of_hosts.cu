#include <cstring>

#include "tests/emulated_cuda/self_test/bugs.h"
#include "tests/emulated_cuda/self_test/expectation.cuh"
#include "tests/emulated_cuda/self_test/sample.h"

namespace liquid::emulated {
namespace {

using cuda::Launch;

constexpr int kCount = 64;

__global__ void CopyKernel(float* to, const float* from) { to[threadIdx.x] = from[threadIdx.x]; }

cudaStream_t NewStream() {
  cudaStream_t stream = nullptr;
  cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
  return stream;
}

float* NewPinned(float value) {
  void* memory = nullptr;
  cudaMallocHost(&memory, kCount * sizeof(float));
  auto* pinned = static_cast<float*>(memory);
  for (int i = 0; i < kCount; ++i) pinned[i] = value;
  return pinned;
}

bool HostReadsDevice() {
  const DeviceArray<float> x(Ascending(kCount));
  const volatile float* on_host = x.data();
  return on_host[3] == 3.0f;
}

bool KernelGetsHostPointer() {
  const std::vector<float> in(kCount, 1.0f);
  const DeviceArray<float> out(kCount);
  Launch(nullptr, dim3(1), kCount, 0, CopyKernel, out.data(), in.data());
  return AllAre(out, 1.0f);
}

bool CopyOfWrongKind() {
  const DeviceArray<float> x(Ascending(kCount));
  float on_host[4];
  return cudaMemcpy(on_host, x.data(), sizeof on_host, cudaMemcpyHostToDevice) == cudaSuccess;
}

// The second stream should wait for an event of the first.
bool MissingEventWait() {
  cudaStream_t first = NewStream();
  cudaStream_t second = NewStream();
  const DeviceArray<float> x(kCount);
  const DeviceArray<float> out(kCount);
  SampleFill(first, x.data(), 1.0f, kCount);
  Launch(second, dim3(1), kCount, 0, CopyKernel, out.data(), x.data());
  cudaStreamSynchronize(second);
  return AllAre(out, 1.0f);
}

// The stream that frees does not wait for the one that reads.
bool FreeAsyncTooEarly() {
  cudaStream_t owner = NewStream();
  cudaStream_t reader = NewStream();
  const DeviceArray<float> out(kCount);
  void* memory = nullptr;
  cudaMallocAsync(&memory, kCount * sizeof(float), owner);
  auto* x = static_cast<float*>(memory);
  SampleFill(owner, x, 1.0f, kCount);
  cudaStreamSynchronize(owner);
  Launch(reader, dim3(1), kCount, 0, CopyKernel, out.data(), x);
  cudaFreeAsync(x, owner);
  cudaStreamSynchronize(owner);
  cudaStreamSynchronize(reader);
  return AllAre(out, 1.0f);
}

bool PinnedReusedTooEarly() {
  const DeviceArray<float> out(kCount);
  cudaStream_t stream = NewStream();
  float* pinned = NewPinned(1.0f);
  cudaMemcpyAsync(out.data(), pinned, kCount * sizeof(float), cudaMemcpyHostToDevice, stream);
  for (int i = 0; i < kCount; ++i) pinned[i] = 2.0f;
  cudaStreamSynchronize(stream);
  cudaFreeHost(pinned);
  return AllAre(out, 1.0f);
}

bool ReadBeforeSynchronize() {
  const DeviceArray<float> x(kCount);
  cudaStream_t stream = NewStream();
  float* pinned = NewPinned(0.0f);
  SampleFill(stream, x.data(), 1.0f, kCount);
  cudaMemcpyAsync(pinned, x.data(), kCount * sizeof(float), cudaMemcpyDeviceToHost, stream);
  return pinned[0] == 1.0f;
}

bool LaunchIsTaken(int threads, size_t shared_bytes) {
  const DeviceArray<float> x(kCount);
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(1);
  config.blockDim = dim3(static_cast<unsigned>(threads));
  config.dynamicSmemBytes = shared_bytes;
  return cudaLaunchKernelEx(&config, CopyKernel, x.data(), x.data()) == cudaSuccess;
}

bool NoBug() {
  constexpr int kM = 64;
  constexpr int kN = 128;
  constexpr int kK = 96;
  const std::vector<__nv_bfloat16> ones(kM * kN * 2, __float2bfloat16(1.0f));
  const DeviceArray<__nv_bfloat16> a(ones);
  const DeviceArray<float> c(kM * kN);
  const DeviceArray<float> sums(kM);
  cudaStream_t stream = NewStream();
  SampleProduct(stream, c.data(), a.data(), a.data(), kM, kN, kK);
  SampleRowSums(stream, sums.data(), c.data(), kM, kN);
  cudaStreamSynchronize(stream);
  cudaStreamDestroy(stream);
  return AllAre(c, kK) && AllAre(sums, kK * kN);
}

}  // namespace

Bugs BugsOfHosts() {
  return {
      {"host_reads_device", HostReadsDevice},
      {"kernel_gets_host_pointer", KernelGetsHostPointer},
      {"copy_of_wrong_kind", CopyOfWrongKind},
      {"missing_event_wait", MissingEventWait},
      {"free_async_too_early", FreeAsyncTooEarly},
      {"pinned_reused_too_early", PinnedReusedTooEarly},
      {"read_before_synchronize", ReadBeforeSynchronize},
      {"too_much_shared_memory", [] { return LaunchIsTaken(32, 64 << 10); }},
      {"too_many_threads", [] { return LaunchIsTaken(2048, 0); }},
      {"none", NoBug},
  };
}

}  // namespace liquid::emulated
