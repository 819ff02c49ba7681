#include "kernels/cuda/device/attention.h"

#include <climits>

#include "kernels/cuda/device/attention_paths.h"
#include "kernels/cuda/device/eight.cuh"
#include "kernels/cuda/device/launch.cuh"
#include "kernels/cuda/device/warp.cuh"

namespace liquid::cuda {
namespace {

constexpr int kWarps = 8;

// A scale below zero, which nobody needs, would make the largest score that of the smallest product.
bool ForTensorCores(Element element, const AttentionShape& shape) {
  return element == Element::kBF16 && shape.width % 8 == 0 && shape.width <= kLargestTileWidth &&
         shape.scale > 0;
}

// One warp: delta of one query, the dot product of its rows of dout and out.
template <typename T>
__global__ __launch_bounds__(kWarps* kWarp) void DeltaKernel(float* __restrict__ delta,
                                                             const T* __restrict__ dout,
                                                             const T* __restrict__ out,
                                                             AttentionShape s) {
  const int64_t row = int64_t{blockIdx.x} * kWarps + threadIdx.x / kWarp;
  if (row >= s.batch * s.queries * s.heads) return;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  float sum = 0;
  for (int64_t c = lane; c < s.width; c += kWarp) {
    sum += static_cast<float>(dout[row * s.width + c]) * static_cast<float>(out[row * s.width + c]);
  }
  sum = WarpSum(sum);
  const int64_t b = row / s.heads / s.queries;
  const int64_t t = row / s.heads % s.queries;
  if (lane == 0) delta[(b * s.heads + row % s.heads) * s.queries + t] = sum;
}

template <typename T>
cudaError_t LaunchDelta(cudaStream_t stream, float* delta, const T* dout, const T* out,
                        const AttentionShape& s) {
  const int64_t blocks = (s.batch * s.queries * s.heads + kWarps - 1) / kWarps;
  if (blocks > INT_MAX) return cudaErrorInvalidValue;
  return Launch(stream, dim3(static_cast<unsigned>(blocks)), kWarps * kWarp, 0, DeltaKernel<T>,
                delta, dout, out, s);
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
