// Tokens that a model puts behind others, one after the other.
#ifndef LIQUID_MODEL_CONTINUATION_H_
#define LIQUID_MODEL_CONTINUATION_H_

#include <cstdint>
#include <set>

#include "absl/functional/function_ref.h"
#include "absl/types/span.h"
#include "model/model.h"
#include "model/sampler.h"

namespace liquid {

struct ContinuationOptions {
  int64_t max_tokens = 0;  // >= 1; there is room for them in the model's context
  std::set<int32_t> stop_tokens = {};
  SamplerOptions sampler = {};
};

struct Continuation {
  int64_t num_tokens = 0;  // the one that ended it included
  bool ended = false;      // by a stop token; else by the limit, or by on_token
};

// Goes on behind `prompt`, at least one token of the model's vocabulary. `on_token` gets each token
// but the one that ends it, and says whether to go on. Collective over the model's tensor-parallel
// ranks, on which `on_token` must say the same.
Continuation Continue(Model& model, absl::Span<const int32_t> prompt,
                      const ContinuationOptions& options,
                      absl::FunctionRef<bool(int32_t token)> on_token);

}  // namespace liquid

#endif  // LIQUID_MODEL_CONTINUATION_H_
