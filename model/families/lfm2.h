// LFM2 and LFM2.5: short convolutions, and attention in some layers.
#ifndef LIQUID_MODEL_FAMILIES_LFM2_H_
#define LIQUID_MODEL_FAMILIES_LFM2_H_

#include <memory>

#include "model/decoder.h"

namespace liquid {

// Source: LFM2, arXiv:2511.23404; as transformers computes it, but that documents in one row are
// apart from each other.
std::unique_ptr<Decoder> CreateLfm2(const ModelConfig& config, Ops& ops, Stream& stream,
                                    TensorPool& pool, const TensorParallel& tensor_parallel,
                                    DType dtype);

}  // namespace liquid

#endif  // LIQUID_MODEL_FAMILIES_LFM2_H_
