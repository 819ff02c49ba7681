// The "post_processor" of a tokenizer.json: the special tokens around a text.
#ifndef LIQUID_DATA_POST_PROCESSOR_H_
#define LIQUID_DATA_POST_PROCESSOR_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

namespace liquid {

// What TemplateProcessing puts around a single text. ByteLevel, and its trimming of offsets, has
// no effect here: a token's range is all that it came from.
struct PostProcessor {
  std::vector<int32_t> prefix;
  std::vector<int32_t> suffix;

  // `value` may be null: nothing. What is not implemented: InvalidArgument.
  static absl::StatusOr<PostProcessor> FromJson(const nlohmann::json& value);
};

}  // namespace liquid

#endif  // LIQUID_DATA_POST_PROCESSOR_H_
