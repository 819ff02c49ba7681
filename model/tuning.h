// Training a part of a model.
#ifndef LIQUID_MODEL_TUNING_H_
#define LIQUID_MODEL_TUNING_H_

#include <optional>
#include <string>
#include <vector>

#include "checkpoint/adapter_config.h"

namespace liquid {

// What of a model is trained.
struct Tuning {
  std::vector<std::string> freeze = {};       // shell patterns of parameter names
  std::optional<AdapterConfig> adapter = {};  // then adapters alone are trained
  float neftune_alpha = 0;  // of noise on embeddings, in passes with gradients; 0: none
};

}  // namespace liquid

#endif  // LIQUID_MODEL_TUNING_H_
