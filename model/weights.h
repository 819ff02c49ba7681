// How a model comes to its weights: from files, or at random.
#ifndef LIQUID_MODEL_WEIGHTS_H_
#define LIQUID_MODEL_WEIGHTS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "model/model.h"

namespace liquid {

// Reads all weights but adapters from a Hugging Face directory (one file or an index). Tensors that
// the model does not know are listed in `ignored` if given, but for those that such files are known
// to hold beside the weights (the tied head, mask and frequency buffers). A missing one is
// NotFound, a wrong shape InvalidArgument with both shapes. They are rounded to the model's dtype.
// Names may begin as they do in other files of the family (GPT-2 without `transformer.`).
absl::Status LoadWeights(const std::string& directory, Model& model,
                         std::vector<std::string>* ignored);

// Reads the adapters of a model that has them from a directory of adapters. Errors as LoadWeights.
absl::Status LoadAdapters(const std::string& directory, Model& model);

// Adapters as they begin, as random weights do: A uniform in +-1 / sqrt(I), B zero, so that the
// model computes what it did without.
void InitializeAdapters(uint64_t seed, Model& model);

// Random weights but for adapters, a function of (seed, parameter name, element index) alone:
// normal(0, 0.02) (the config's initializer_range) for matrices, ones for norms, zeros for biases.
void InitializeWeights(uint64_t seed, Model& model);

}  // namespace liquid

#endif  // LIQUID_MODEL_WEIGHTS_H_
