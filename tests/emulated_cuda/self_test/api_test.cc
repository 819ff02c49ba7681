// What the emulated CUDA calls answer, and in what order work happens.
#include <cuda_bf16.h>
#include <cuda_runtime_api.h>

#include <cmath>
#include <cstdlib>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/emulated_cuda/self_test/device_array.h"
#include "tests/emulated_cuda/self_test/sample.h"

namespace liquid::emulated {
namespace {

constexpr int kCount = 200;

cudaStream_t NewStream() {
  cudaStream_t stream = nullptr;
  EXPECT_EQ(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
  return stream;
}

std::vector<float> All(float value) { return std::vector<float>(kCount, value); }

TEST(EmulatedCudaTest, ThereIsOneDevice) {
  int count = 0;
  EXPECT_EQ(cudaGetDeviceCount(&count), cudaSuccess);
  EXPECT_EQ(count, 1);
  cudaDeviceProp properties;
  ASSERT_EQ(cudaGetDeviceProperties(&properties, 0), cudaSuccess);
  EXPECT_EQ(std::string(properties.name), "emulated sm_90");
  EXPECT_EQ(cudaSetDevice(1), cudaErrorInvalidDevice);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidDevice);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
}

// Tensor cores, ldmatrix and cp.async, whose layouts would show in any wrong element.
TEST(EmulatedCudaTest, AProductOnTensorCoresAgreesWithALoop) {
  constexpr int kM = 128;
  constexpr int kN = 64;
  constexpr int kK = 96;
  std::vector<__nv_bfloat16> a(kM * kK);
  std::vector<__nv_bfloat16> b(kK * kN);
  // Small integers: every sum is exact.
  for (size_t i = 0; i < a.size(); ++i) a[i] = __float2bfloat16(static_cast<float>(i * 7 % 13) - 6);
  for (size_t i = 0; i < b.size(); ++i) b[i] = __float2bfloat16(static_cast<float>(i * 5 % 11) - 5);
  const DeviceArray<__nv_bfloat16> device_a(a);
  const DeviceArray<__nv_bfloat16> device_b(b);
  const DeviceArray<float> device_c(kM * kN);
  ASSERT_EQ(SampleProduct(nullptr, device_c.data(), device_a.data(), device_b.data(), kM, kN, kK),
            cudaSuccess);
  const std::vector<float> c = device_c.Values();
  for (int row = 0; row < kM; ++row) {
    for (int column = 0; column < kN; ++column) {
      double sum = 0;
      for (int k = 0; k < kK; ++k) {
        sum += static_cast<double>(__bfloat162float(a[row * kK + k])) *
               __bfloat162float(b[k * kN + column]);
      }
      ASSERT_EQ(c[row * kN + column], sum) << row << ", " << column;
    }
  }
}

TEST(EmulatedCudaTest, SumsThroughShufflesAndSharedMemoryAgreeWithALoop) {
  constexpr int kRows = 5;
  std::vector<float> x(kRows * kCount);
  std::vector<float> expected(kRows);
  for (int i = 0; i < kRows * kCount; ++i) {
    x[i] = static_cast<float>(i % 17);
    expected[i / kCount] += x[i];
  }
  const DeviceArray<float> device_x(x);
  const DeviceArray<float> sums(kRows);
  ASSERT_EQ(SampleRowSums(nullptr, sums.data(), device_x.data(), kRows, kCount), cudaSuccess);
  EXPECT_EQ(sums.Values(), expected);
}

TEST(EmulatedCudaTest, AStreamWaitsForAnEventOfAnother) {
  cudaStream_t first = NewStream();
  cudaStream_t second = NewStream();
  cudaEvent_t event = nullptr;
  ASSERT_EQ(cudaEventCreate(&event), cudaSuccess);
  const DeviceArray<float> x(kCount);
  SampleFill(first, x.data(), 1.0f, kCount);
  EXPECT_EQ(cudaEventRecord(event, first), cudaSuccess);
  EXPECT_EQ(cudaStreamWaitEvent(second, event, 0), cudaSuccess);
  SampleFill(second, x.data(), 2.0f, kCount);
  // Each query is an occasion to work.
  while (cudaEventQuery(event) == cudaErrorNotReady) {
  }
  EXPECT_EQ(cudaStreamSynchronize(second), cudaSuccess);
  EXPECT_EQ(x.Values(), All(2.0f));
  // The handle may go while work is left that waits for the event.
  EXPECT_EQ(cudaEventRecord(event, first), cudaSuccess);
  EXPECT_EQ(cudaStreamWaitEvent(second, event, 0), cudaSuccess);
  EXPECT_EQ(cudaEventDestroy(event), cudaSuccess);
  EXPECT_EQ(cudaStreamDestroy(second), cudaSuccess);
  EXPECT_EQ(cudaStreamDestroy(first), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(first), cudaErrorInvalidResourceHandle);
  cudaGetLastError();
}

TEST(EmulatedCudaTest, WhatIsMerelyEnqueuedHasNotHappened) {
  cudaStream_t stream = NewStream();
  int num_calls = 0;
  const auto count = [](void* counter) { ++*static_cast<int*>(counter); };
  ASSERT_EQ(cudaLaunchHostFunc(stream, count, &num_calls), cudaSuccess);
  EXPECT_EQ(num_calls, 0);
  EXPECT_EQ(cudaStreamQuery(stream), cudaSuccess);
  EXPECT_EQ(num_calls, 1);
  EXPECT_EQ(cudaStreamDestroy(stream), cudaSuccess);
}

TEST(EmulatedCudaTest, AGraphRepeatsWhatWasCaptured) {
  cudaStream_t stream = NewStream();
  const DeviceArray<float> x(kCount);
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  ASSERT_EQ(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), cudaSuccess);
  SampleFill(stream, x.data(), 3.0f, kCount);
  ASSERT_EQ(cudaStreamEndCapture(stream, &graph), cudaSuccess);
  ASSERT_EQ(cudaGraphInstantiate(&executable, graph, 0), cudaSuccess);
  EXPECT_TRUE(std::isnan(x.Values()[0]));
  for (int i = 0; i < 2; ++i) {
    SampleFill(stream, x.data(), 0.0f, kCount);
    EXPECT_EQ(cudaGraphLaunch(executable, stream), cudaSuccess);
    EXPECT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
    EXPECT_EQ(x.Values(), All(3.0f));
  }
  cudaGraphExecDestroy(executable);
  cudaGraphDestroy(graph);
  cudaStreamDestroy(stream);
}

TEST(EmulatedCudaTest, AllocationsFailWhereMemoryIsFull) {
  size_t free_bytes = 0;
  size_t total_bytes = 0;
  ASSERT_EQ(cudaMemGetInfo(&free_bytes, &total_bytes), cudaSuccess);
  void* memory = nullptr;
  EXPECT_EQ(cudaMalloc(&memory, free_bytes + 1), cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaGetLastError(), cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
  EXPECT_EQ(cudaMalloc(&memory, 1000), cudaSuccess);
  size_t left_bytes = 0;
  cudaMemGetInfo(&left_bytes, &total_bytes);
  EXPECT_EQ(left_bytes, free_bytes - 1000);
  EXPECT_EQ(cudaFree(memory), cudaSuccess);
  EXPECT_EQ(cudaFree(memory), cudaErrorInvalidValue);
  cudaGetLastError();
}

TEST(EmulatedCudaTest, CopiesAreWithinOneAllocation) {
  const DeviceArray<float> x(kCount);
  std::vector<float> host(kCount + 1);
  EXPECT_EQ(cudaMemcpy(x.data(), host.data(), host.size() * sizeof(float), cudaMemcpyHostToDevice),
            cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemset(x.data() + 1, 0, kCount * sizeof(float)), cudaErrorInvalidValue);
  cudaGetLastError();
}

// In a process of its own, since the error stays.
TEST(EmulatedCudaDeathTest, AFaultStaysWhereItDoesNotAbort) {
  ::testing::GTEST_FLAG(death_test_style) = "threadsafe";
  const auto write_out_of_bounds = [] {
    setenv("LIQUID_EMULATED_ABORT", "0", 1);
    const DeviceArray<float> x(kCount);
    void* memory = nullptr;
    SampleFill(nullptr, x.data(), 1.0f, kCount + 1);
    const bool stays = cudaDeviceSynchronize() == cudaErrorLaunchFailure &&
                       cudaMalloc(&memory, 16) == cudaErrorLaunchFailure &&
                       cudaGetLastError() == cudaErrorLaunchFailure;
    _exit(stays ? 0 : 1);
  };
#if defined(LIQUID_EMULATED_ASAN) || defined(LIQUID_EMULATED_TSAN)
  GTEST_SKIP() << "a sanitizer ends the process itself";
#endif
  EXPECT_EXIT(write_out_of_bounds(), ::testing::ExitedWithCode(0), "FAULT in");
}

}  // namespace
}  // namespace liquid::emulated
