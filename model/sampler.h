// The choice of the next token from logits.
#ifndef LIQUID_MODEL_SAMPLER_H_
#define LIQUID_MODEL_SAMPLER_H_

#include <cstdint>

#include "absl/types/span.h"

namespace liquid {

struct SamplerOptions {
  double temperature = 0;  // 0: the likeliest token, whatever the rest says
  int32_t top_k = 0;       // only the k likeliest; 0: all
  double top_p = 1;        // only the likeliest that together reach this probability; 1: all
  uint64_t seed = 0;
};

// A token id in [0, logits.size()): a function of its arguments alone. `index` is the number of the
// token within the generation. Of equal logits the lower id counts as likelier; NaN never wins.
// top_k is applied before top_p, both after the temperature.
// Source: Holtzman et al. 2020, arXiv:1904.09751 (top_p); Fan et al. 2018, arXiv:1805.04833
// (top_k).
int32_t SampleToken(absl::Span<const float> logits, const SamplerOptions& options, uint64_t index);

}  // namespace liquid

#endif  // LIQUID_MODEL_SAMPLER_H_
