#include "model/continuation.h"

#include <vector>

#include "base/check.h"
#include "model/key_value_cache.h"

namespace liquid {

Continuation Continue(Model& model, absl::Span<const int32_t> prompt,
                      const ContinuationOptions& options,
                      absl::FunctionRef<bool(int32_t token)> on_token) {
  LIQUID_CHECK(!prompt.empty() && options.max_tokens >= 1, options.max_tokens);
  const auto cache = model.CreateCache(static_cast<int64_t>(prompt.size()) + options.max_tokens);
  Continuation result;
  std::vector<float> logits = model.Extend(*cache, prompt);
  while (true) {
    const int32_t token =
        SampleToken(logits, options.sampler, static_cast<uint64_t>(result.num_tokens));
    ++result.num_tokens;
    result.ended = options.stop_tokens.contains(token);
    if (result.ended || !on_token(token) || result.num_tokens == options.max_tokens) return result;
    logits = model.Extend(*cache, {&token, 1});
  }
}

}  // namespace liquid
