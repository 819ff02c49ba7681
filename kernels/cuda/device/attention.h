// Attention over packed documents and its gradient.
#ifndef LIQUID_KERNELS_CUDA_DEVICE_ATTENTION_H_
#define LIQUID_KERNELS_CUDA_DEVICE_ATTENTION_H_

#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/cuda/device/element.h"

namespace liquid::cuda {

// Sizes are those of q, out [B,Tq,H,K] and k, v [B,Tk,G,K]; query head h uses key/value head
// h / (H/G). Query t is the row's token i = query_offset + t and sees the keys j of its document
// with i - window < j <= i; window 0 has no lower bound.
struct AttentionShape {
  int64_t batch = 0;
  int64_t queries = 0;
  int64_t keys = 0;
  int64_t heads = 0;   // a multiple of groups
  int64_t groups = 0;  // key/value heads
  int64_t width = 0;   // of a head; at most kLargestAttentionWidth
  float scale = 1.0f;  // of the scores
  int32_t window = 0;
  int32_t query_offset = 0;  // query_offset + queries <= keys
};

inline constexpr int64_t kLargestAttentionWidth = 1024;

// Both: in kBF16, tensors begin at multiples of 16 bytes where K is a multiple of 8 (else
// cudaErrorMisalignedAddress). Sums are float32; the order of each is a function of the shape
// alone. kBF16 with such K up to 512 and a scale above 0 runs on tensor cores, which take
// probabilities (and their gradients) rounded to bf16; everything else, in float32, one warp per
// row. Keys behind the last query are not read: there is room for them in a cache.
// document_start [B,Tk] or null: the index in the row of the first token of a token's document.
// Source: Dao 2023, arXiv:2307.08691.

// lse [B,H,Tq] becomes the log-sum-exp of the scaled scores.
cudaError_t Attention(cudaStream_t stream, Element element, void* out, float* lse, const void* q,
                      const void* k, const void* v, const int32_t* document_start,
                      const AttentionShape& shape);

// dq, dk, dv are assigned. `delta` [B,H,Tq] is scratch. REQUIRES: queries == keys, no query_offset.
cudaError_t AttentionBackward(cudaStream_t stream, Element element, void* dq, void* dk, void* dv,
                              float* delta, const void* dout, const void* q, const void* k,
                              const void* v, const void* out, const float* lse,
                              const int32_t* document_start, const AttentionShape& shape);

}  // namespace liquid::cuda

#endif  // LIQUID_KERNELS_CUDA_DEVICE_ATTENTION_H_
