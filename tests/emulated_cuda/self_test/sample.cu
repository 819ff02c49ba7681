#include "tests/emulated_cuda/self_test/sample.h"

#include "kernels/cuda/device/launch.cuh"
#include "kernels/cuda/device/ptx.cuh"

namespace liquid::emulated {
namespace {

namespace ptx = cuda::ptx;

constexpr int kThreads = 128;
constexpr int kTileM = 64;
constexpr int kTileN = 64;
constexpr int kTileK = 32;
constexpr int kStrideA = kTileK + 8;  // padded, so that ldmatrix meets no bank conflicts
constexpr int kStrideB = kTileN + 8;

struct Stage {
  __nv_bfloat16 a[kTileM * kStrideA];
  __nv_bfloat16 b[kTileK * kStrideB];
};

__device__ void BeginToLoad(Stage& stage, const __nv_bfloat16* a, const __nv_bfloat16* b, int n,
                            int k) {
  for (int i = threadIdx.x; i < kTileM * kTileK / 8; i += kThreads) {
    ptx::CopyAsync16(&stage.a[i / 4 * kStrideA + i % 4 * 8], a + i / 4 * k + i % 4 * 8, true);
  }
  for (int i = threadIdx.x; i < kTileK * kTileN / 8; i += kThreads) {
    ptx::CopyAsync16(&stage.b[i / 8 * kStrideB + i % 8 * 8], b + i / 8 * n + i % 8 * 8, true);
  }
  ptx::CopyAsyncCommit();
}

__global__ __launch_bounds__(kThreads) void ProductKernel(float* c, const __nv_bfloat16* a,
                                                          const __nv_bfloat16* b, int n, int k) {
  __shared__ __align__(16) Stage stages[2];
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int first_row = static_cast<int>(blockIdx.y) * kTileM;
  const int first_column = static_cast<int>(blockIdx.x) * kTileN;
  a += first_row * k;
  b += first_column;
  float sums[8][4] = {};
  BeginToLoad(stages[0], a, b, n, k);
  for (int begin = 0, now = 0; begin < k; begin += kTileK, now ^= 1) {
    if (begin + kTileK < k) {
      BeginToLoad(stages[now ^ 1], a + begin + kTileK, b + (begin + kTileK) * n, n, k);
      ptx::CopyAsyncWait<1>();
    } else {
      ptx::CopyAsyncWait<0>();
    }
    __syncthreads();
    for (int step = 0; step < kTileK; step += 16) {
      unsigned of_a[4];
      ptx::LoadMatrix4(of_a,
                       &stages[now].a[(warp * 16 + lane % 16) * kStrideA + step + lane / 16 * 8]);
      for (int j = 0; j < 4; ++j) {
        unsigned of_b[4];
        ptx::LoadMatrix4Transposed(
            of_b, &stages[now].b[(step + lane % 16) * kStrideB + j * 16 + lane / 16 * 8]);
        ptx::MmaBf16(sums[2 * j], of_a, {of_b[0], of_b[1]});
        ptx::MmaBf16(sums[2 * j + 1], of_a, {of_b[2], of_b[3]});
      }
    }
    __syncthreads();  // all have read this stage before it is filled again
  }
  c += (first_row + warp * 16 + lane / 4) * n + first_column + lane % 4 * 2;
  for (int j = 0; j < 8; ++j) {
    for (int i = 0; i < 4; ++i) c[i / 2 * 8 * n + j * 8 + i % 2] = sums[j][i];
  }
}

__global__ void RowSumsKernel(float* sums, const float* x, int columns) {
  auto* of_warps = reinterpret_cast<float*>(cuda::dynamic_shared);
  float sum = 0;
  for (int i = static_cast<int>(threadIdx.x); i < columns; i += kThreads) {
    sum += x[blockIdx.x * columns + i];
  }
  for (int distance = 16; distance > 0; distance /= 2) {
    sum += __shfl_xor_sync(0xffffffffu, sum, distance);
  }
  if (threadIdx.x % 32 == 0) of_warps[threadIdx.x / 32] = sum;
  __syncthreads();
  if (threadIdx.x > 0) return;
  for (int i = 1; i < kThreads / 32; ++i) sum += of_warps[i];
  sums[blockIdx.x] = sum;
}

__global__ void FillKernel(float* x, float value, int count) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < count) x[i] = value;
}

}  // namespace

cudaError_t SampleProduct(cudaStream_t stream, float* c, const __nv_bfloat16* a,
                          const __nv_bfloat16* b, int m, int n, int k) {
  const dim3 grid(static_cast<unsigned>(n / kTileN), static_cast<unsigned>(m / kTileM));
  return cuda::Launch(stream, grid, kThreads, 0, ProductKernel, c, a, b, n, k);
}

cudaError_t SampleRowSums(cudaStream_t stream, float* sums, const float* x, int rows, int columns) {
  return cuda::Launch(stream, dim3(static_cast<unsigned>(rows)), kThreads,
                      kThreads / 32 * sizeof(float), RowSumsKernel, sums, x, columns);
}

cudaError_t SampleFill(cudaStream_t stream, float* x, float value, int count) {
  const auto num_blocks = static_cast<unsigned>((count + kThreads - 1) / kThreads);
  return cuda::Launch(stream, dim3(num_blocks), kThreads, 0, FillKernel, x, value, count);
}

}  // namespace liquid::emulated
