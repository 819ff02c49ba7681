// The "decoder" of a tokenizer.json: makes text of tokens.
#ifndef LIQUID_DATA_TOKEN_DECODER_H_
#define LIQUID_DATA_TOKEN_DECODER_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

namespace liquid {

// A sequence of ByteLevel, Replace (of a string), ByteFallback, Fuse, Strip and Metaspace.
// Constant after FromJson(): any thread.
class TokenDecoder {
 public:
  // `value` may be null: tokens are joined by spaces. What is not implemented: InvalidArgument.
  static absl::StatusOr<TokenDecoder> FromJson(const nlohmann::json& value);

  // The text of `tokens`, valid UTF-8: bytes that are none become U+FFFD.
  std::string Decode(std::vector<std::string> tokens) const;

 private:
  enum class Kind { kByteLevel, kReplace, kByteFallback, kFuse, kStrip, kMetaspace };
  struct Step {
    Kind kind;
    std::string pattern;  // of kReplace; the character of kStrip and kMetaspace
    std::string content;  // of kReplace
    size_t num_left = 0;  // of kStrip: how many at most
    size_t num_right = 0;
    bool drop_first = false;  // of kMetaspace: the first token loses its spaces
  };
  absl::Status Add(const nlohmann::json& value, const std::string& path, int depth);
  static void Run(const Step& step, std::vector<std::string>* tokens);

  std::vector<Step> steps_;
  bool joins_by_space_ = true;
};

}  // namespace liquid

#endif  // LIQUID_DATA_TOKEN_DECODER_H_
