#include "kernels/cuda/device/ptx.cuh"
#include "tests/emulated_cuda/self_test/bugs.h"
#include "tests/emulated_cuda/self_test/expectation.cuh"

namespace liquid::emulated {
namespace {

__global__ void MissingBarrier(float* out, const float* in) {
  __shared__ float s[128];
  s[threadIdx.x] = in[threadIdx.x];
  float sum = 0;
  for (int i = 0; i < 128; ++i) sum += s[i];
  out[threadIdx.x] = sum;
}

// Right by luck where threads run in order.
__global__ void MissingBarrierLucky(float* out, const float* in) {
  __shared__ float s[128];
  s[threadIdx.x] = in[threadIdx.x];
  out[threadIdx.x] = threadIdx.x > 0 ? s[threadIdx.x - 1] : 0.0f;
}

// The second barrier of the loop is missing: a thread overwrites what others still read.
__global__ void MissingLoopBarrier(float* out, const float* in) {
  __shared__ float s[128];
  float sum = 0;
  for (int k = 0; k < 4; ++k) {
    s[threadIdx.x] = in[k * 128 + threadIdx.x];
    __syncthreads();
    for (int i = 0; i < 128; ++i) sum += s[i];
  }
  out[threadIdx.x] = sum;
}

// A shuffle is no fence.
__global__ void MissingSyncWarp(float* out, const float* in) {
  __shared__ float s[32];
  s[threadIdx.x] = in[threadIdx.x];
  const float x = __shfl_xor_sync(0xffffffffu, in[threadIdx.x], 1);
  out[threadIdx.x] = s[threadIdx.x ^ 1] - x;
}

// Neither is a product: its result goes to shared memory, and is read by other lanes.
__global__ void MissingSyncWarpAfterMma(float* out, const float*) {
  __shared__ float s[16 * 8];
  const int lane = static_cast<int>(threadIdx.x);
  constexpr unsigned kOnes = 0x3f803f80;
  float d[4] = {};
  cuda::ptx::MmaBf16(d, {kOnes, kOnes, kOnes, kOnes}, {kOnes, kOnes});
  for (int i = 0; i < 4; ++i) s[(lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2] = d[i];
  for (int i = 0; i < 4; ++i) out[lane * 4 + i] = s[lane * 4 + i];
}

__global__ void MissingAsyncWait(float* out, const float* in) {
  __shared__ __align__(16) float s[4 * 32];
  cuda::ptx::CopyAsync16(&s[4 * threadIdx.x], in + 4 * threadIdx.x, true);
  cuda::ptx::CopyAsyncCommit();
  out[threadIdx.x] = s[4 * threadIdx.x];
  cuda::ptx::CopyAsyncWait<0>();
}

__global__ void LostUpdate(float* out, const float*) { out[0] = out[0] + 1.0f; }
__global__ void OrderOfBlocks(float* out, const float*) {
  out[blockIdx.x + 1] = out[blockIdx.x] + 1.0f;
}

__global__ void DivergentSites(float* out, const float*) {
  if (threadIdx.x < 32) {
    out[threadIdx.x] = 1.0f;
    __syncthreads();
  } else {
    __syncthreads();
    out[threadIdx.x] = 1.0f;
  }
}
__global__ void DivergentSome(float* out, const float*) {
  if (threadIdx.x < 32) __syncthreads();
  out[threadIdx.x] = 1.0f;
}
__global__ void EarlyReturn(float* out, const float*) {
  if (threadIdx.x >= 50) return;
  __syncthreads();
  out[threadIdx.x] = 1.0f;
}
__global__ void DivergentShuffle(float* out, const float*) {
  float x = 1.0f;
  if (threadIdx.x < 16) x += __shfl_xor_sync(0xffffffffu, x, 1);
  out[threadIdx.x] = x;
}
__global__ void LaneNotInMask(float* out, const float*) {
  out[threadIdx.x] = __shfl_xor_sync(0x0000ffffu, 1.0f, 1);
}

float One(int) { return 1.0f; }

}  // namespace

Bugs BugsOfOrder() {
  return {
      {"missing_barrier",
       [] { return Yields(MissingBarrier, 1, 128, 128, [](int) { return 127.0f * 64; }); }},
      {"missing_barrier_lucky",
       [] {
         return Yields(MissingBarrierLucky, 1, 128, 128,
                       [](int i) { return i > 0 ? static_cast<float>(i - 1) : 0.0f; });
       }},
      {"missing_loop_barrier",
       [] { return Yields(MissingLoopBarrier, 1, 128, 128, [](int) { return 511.0f * 256; }); }},
      {"missing_syncwarp",
       [] { return Yields(MissingSyncWarp, 1, 32, 32, [](int) { return 0.0f; }); }},
      {"missing_syncwarp_after_mma",
       [] { return Yields(MissingSyncWarpAfterMma, 1, 32, 128, [](int) { return 16.0f; }); }},
      {"missing_async_wait",
       [] {
         return Yields(MissingAsyncWait, 1, 32, 32,
                       [](int i) { return static_cast<float>(4 * i); });
       }},
      {"lost_update", [] { return Yields(LostUpdate, 64, 1, 1, [](int) { return 64.0f; }); }},
      {"order_of_blocks",
       [] {
         return Yields(OrderOfBlocks, 64, 1, 65, [](int i) { return static_cast<float>(i); });
       }},
      {"divergent_sites", [] { return Yields(DivergentSites, 1, 64, 64, One); }},
      {"divergent_some", [] { return Yields(DivergentSome, 1, 64, 64, One); }},
      {"early_return", [] { return Yields(EarlyReturn, 1, 64, 50, One); }},
      {"divergent_shuffle", [] { return Yields(DivergentShuffle, 1, 32, 0, One); }},
      {"lane_not_in_mask", [] { return Yields(LaneNotInMask, 1, 32, 0, One); }},
  };
}

}  // namespace liquid::emulated
