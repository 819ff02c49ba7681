// Gemma 3 and Gemma 4, their text models.
#ifndef LIQUID_MODEL_FAMILIES_GEMMA_H_
#define LIQUID_MODEL_FAMILIES_GEMMA_H_

#include <memory>

#include "model/decoder.h"

namespace liquid {

// Source: Gemma 3, arXiv:2503.19786; Gemma 4 as transformers 5.15 computes it (docs/models.md).
std::unique_ptr<Decoder> CreateGemma(const ModelConfig& config, Ops& ops, Stream& stream,
                                     TensorPool& pool, const TensorParallel& tensor_parallel,
                                     DType dtype);

}  // namespace liquid

#endif  // LIQUID_MODEL_FAMILIES_GEMMA_H_
