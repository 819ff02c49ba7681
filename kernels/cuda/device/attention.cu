#include "kernels/cuda/device/attention.h"

#include <climits>

#include "kernels/cuda/device/attention_paths.h"
#include "kernels/cuda/device/eight.cuh"
#include "kernels/cuda/device/launch.cuh"
#include "kernels/cuda/device/warp.cuh"

namespace liquid::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kTeam = 16;  // threads of a row: eight columns each are a head of 128

// A scale below zero, which nobody needs, would make the largest score that of the smallest
// product.
bool ForTensorCores(Element element, const AttentionShape& shape) {
  return element == Element::kBF16 && shape.width % 8 == 0 && shape.width <= kLargestTileWidth &&
         shape.scale > 0;
}

// One team: delta of one query, the dot product of its rows of dout and out.
template <typename T>
__global__ __launch_bounds__(kThreads) void DeltaKernel(float* __restrict__ delta,
                                                        const T* __restrict__ dout,
                                                        const T* __restrict__ out, bool aligned,
                                                        AttentionShape s) {
  const int64_t row = int64_t{blockIdx.x} * (kThreads / kTeam) + threadIdx.x / kTeam;
  const bool has_row = row < s.batch * s.queries * s.heads;  // all take part in shuffles
  const int lane = static_cast<int>(threadIdx.x) % kTeam;
  const int64_t end = has_row ? s.width : 0;
  float sum = 0;
  for (int64_t c = lane * kEight; c < end; c += kTeam * kEight) {
    float a[kEight];
    float b[kEight];
    LoadEight(a, dout + row * s.width + c, end - c, aligned);
    LoadEight(b, out + row * s.width + c, end - c, aligned);
#pragma unroll
    for (int i = 0; i < kEight; ++i) sum = fmaf(a[i], b[i], sum);
  }
#pragma unroll
  for (int distance = kTeam / 2; distance > 0; distance /= 2) {
    sum += __shfl_xor_sync(kAllLanes, sum, distance);
  }
  if (lane != 0 || !has_row) return;
  const int64_t b = row / s.heads / s.queries;
  const int64_t t = row / s.heads % s.queries;
  delta[(b * s.heads + row % s.heads) * s.queries + t] = sum;
}

template <typename T>
cudaError_t LaunchDelta(cudaStream_t stream, float* delta, const T* dout, const T* out,
                        const AttentionShape& s) {
  const int64_t blocks = CeilDivide(s.batch * s.queries * s.heads, kThreads / kTeam);
  if (blocks > INT_MAX) return cudaErrorInvalidValue;
  const bool aligned = s.width % kEight == 0 && AreAligned(dout, out);
  return Launch(stream, dim3(static_cast<unsigned>(blocks)), kThreads, 0, DeltaKernel<T>, delta,
                dout, out, aligned, s);
}

}  // namespace

cudaError_t Attention(cudaStream_t stream, Element element, void* out, float* lse, const void* q,
                      const void* k, const void* v, const int32_t* document_start,
                      const AttentionShape& shape) {
  if (shape.width > kLargestAttentionWidth) return cudaErrorInvalidValue;
  if (shape.batch * shape.queries * shape.heads == 0) return cudaSuccess;
  if (ForTensorCores(element, shape)) {
    if (!AreAligned(out, q, k, v)) return cudaErrorMisalignedAddress;
    return AttentionByTiles(stream, out, lse, q, k, v, document_start, shape);
  }
  return AttentionByRows(stream, element, out, lse, q, k, v, document_start, shape);
}

cudaError_t AttentionBackward(cudaStream_t stream, Element element, void* dq, void* dk, void* dv,
                              float* delta, const void* dout, const void* q, const void* k,
                              const void* v, const void* out, const float* lse,
                              const int32_t* document_start, const AttentionShape& shape) {
  if (shape.width > kLargestAttentionWidth) return cudaErrorInvalidValue;
  if (shape.batch * shape.queries * shape.heads == 0) return cudaSuccess;
  const cudaError_t code = element == Element::kBF16
                               ? LaunchDelta(stream, delta, static_cast<const __nv_bfloat16*>(dout),
                                             static_cast<const __nv_bfloat16*>(out), shape)
                               : LaunchDelta(stream, delta, static_cast<const float*>(dout),
                                             static_cast<const float*>(out), shape);
  if (code != cudaSuccess) return code;
  if (ForTensorCores(element, shape)) {
    if (!AreAligned(dq, dk, dv, dout, q, k, v)) return cudaErrorMisalignedAddress;
    return AttentionBackwardByTiles(stream, dq, dk, dv, delta, dout, q, k, v, lse, document_start,
                                    shape);
  }
  return AttentionBackwardByRows(stream, element, dq, dk, dv, delta, dout, q, k, v, lse,
                                 document_start, shape);
}

}  // namespace liquid::cuda
