// Rows of a table [vocabulary,width] at ids [tokens]. An id that is neither in the vocabulary nor
// kElsewhere stops the kernel: the stream fails.
#ifndef LIQUID_KERNELS_CUDA_DEVICE_EMBEDDING_H_
#define LIQUID_KERNELS_CUDA_DEVICE_EMBEDDING_H_

#include <cstdint>

#include "kernels/cuda/device/element.h"
#include "kernels/cuda/device/workspace.h"

namespace liquid::cuda {

// out [tokens,width] = rows at ids, zeros for kElsewhere.
cudaError_t Embedding(cudaStream_t stream, void* out, const int32_t* ids, const void* table,
                      Element element, int64_t tokens, int64_t width, int64_t vocabulary);

// dtable rows += rows of dout [tokens,width], for equal ids in the order of tokens. dtable is kF32
// or of the element of dout; then the sum with what was there is rounded once. tokens < 2^31.
// workspace: EmbeddingBackwardWorkspace(tokens).
cudaError_t EmbeddingBackward(cudaStream_t stream, void* dtable, Element dtable_element,
                              int32_t* workspace, const int32_t* ids, const void* dout,
                              Element element, int64_t tokens, int64_t width, int64_t vocabulary);

}  // namespace liquid::cuda

#endif  // LIQUID_KERNELS_CUDA_DEVICE_EMBEDDING_H_
