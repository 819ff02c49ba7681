// Llama and its kin: Qwen2 (bias on q, k, v), Qwen3 (norm of each query and key head).
#ifndef LIQUID_MODEL_FAMILIES_LLAMA_H_
#define LIQUID_MODEL_FAMILIES_LLAMA_H_

#include <memory>

#include "model/decoder.h"

namespace liquid {

// Source: Touvron et al. 2023, arXiv:2302.13971, section 2.2; Ainslie et al. 2023,
// arXiv:2305.13245 (grouped heads); Qwen2, arXiv:2407.10671; Qwen3, arXiv:2505.09388.
std::unique_ptr<Decoder> CreateLlama(const ModelConfig& config, Ops& ops, Stream& stream,
                                     TensorPool& pool, const TensorParallel& tensor_parallel,
                                     DType dtype);

}  // namespace liquid

#endif  // LIQUID_MODEL_FAMILIES_LLAMA_H_
