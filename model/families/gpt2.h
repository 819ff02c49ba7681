// GPT-2: learned positions, layer norm, biases everywhere, weights stored [inputs, outputs].
#ifndef LIQUID_MODEL_FAMILIES_GPT2_H_
#define LIQUID_MODEL_FAMILIES_GPT2_H_

#include <memory>

#include "absl/status/statusor.h"
#include "model/model.h"

namespace liquid {

// Source: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", section 2.3.
absl::StatusOr<std::unique_ptr<Model>> CreateGpt2(const ModelConfig& config, Ops& ops,
                                                  Stream& stream, TensorPool& pool,
                                                  const TensorParallel& tensor_parallel,
                                                  DType dtype);

}  // namespace liquid

#endif  // LIQUID_MODEL_FAMILIES_GPT2_H_
