// The tokens with which a model may end its turn.
#ifndef LIQUID_DATA_STOP_TOKENS_H_
#define LIQUID_DATA_STOP_TOKENS_H_

#include <cstdint>
#include <set>
#include <string>

#include "absl/types/span.h"
#include "data/example_encoder.h"

namespace liquid {

// The end of sequence, as the model's config.json (`eos_token_ids`), the generation_config.json of
// `directory`, if there is one, and the tokenizer know it, and what the chat template puts behind
// an answer.
std::set<int32_t> StopTokens(const ExampleEncoder& encoder, const std::string& directory,
                             absl::Span<const int32_t> eos_token_ids);

}  // namespace liquid

#endif  // LIQUID_DATA_STOP_TOKENS_H_
