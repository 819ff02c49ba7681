// The two ways to compute attention, for attention.cu to choose between: arguments as there.
#ifndef LIQUID_KERNELS_CUDA_DEVICE_ATTENTION_PATHS_H_
#define LIQUID_KERNELS_CUDA_DEVICE_ATTENTION_PATHS_H_

#include "kernels/cuda/device/attention.h"

namespace liquid::cuda {

// On tensor cores. REQUIRES: kBF16, a width that is a multiple of 8 and at most this.
inline constexpr int64_t kLargestTileWidth = 512;
cudaError_t AttentionByTiles(cudaStream_t stream, void* out, float* lse, const void* q,
                             const void* k, const void* v, const int32_t* document_start,
                             const AttentionShape& shape);
cudaError_t AttentionBackwardByTiles(cudaStream_t stream, void* dq, void* dk, void* dv,
                                     const float* delta, const void* dout, const void* q,
                                     const void* k, const void* v, const float* lse,
                                     const int32_t* document_start, const AttentionShape& shape);

// In float32, of any width and element.
cudaError_t AttentionByRows(cudaStream_t stream, Element element, void* out, float* lse,
                            const void* q, const void* k, const void* v,
                            const int32_t* document_start, const AttentionShape& shape);
cudaError_t AttentionBackwardByRows(cudaStream_t stream, Element element, void* dq, void* dk,
                                    void* dv, const float* delta, const void* dout, const void* q,
                                    const void* k, const void* v, const float* lse,
                                    const int32_t* document_start, const AttentionShape& shape);

}  // namespace liquid::cuda

#endif  // LIQUID_KERNELS_CUDA_DEVICE_ATTENTION_PATHS_H_
