// GPT-2: learned positions, layer norm, biases everywhere, weights stored [inputs, outputs].
#ifndef LIQUID_MODEL_FAMILIES_GPT2_H_
#define LIQUID_MODEL_FAMILIES_GPT2_H_

#include <memory>

#include "model/decoder.h"

namespace liquid {

// Source: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", section 2.3.
std::unique_ptr<Decoder> CreateGpt2(const ModelConfig& config, Ops& ops, Stream& stream,
                                    TensorPool& pool, const TensorParallel& tensor_parallel,
                                    DType dtype);

}  // namespace liquid

#endif  // LIQUID_MODEL_FAMILIES_GPT2_H_
