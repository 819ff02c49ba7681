// The "normalizer" of a tokenizer.json: rewrites text before it is split.
#ifndef LIQUID_DATA_NORMALIZER_H_
#define LIQUID_DATA_NORMALIZER_H_

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "data/aligned_text.h"
#include "data/nfc.h"
#include "nlohmann/json.hpp"

namespace liquid {

// A sequence of NFC, Replace (of a string) and Prepend. Constant after FromJson(): any thread.
class Normalizer {
 public:
  // `value` may be null: no normalizer. Anything else that is not implemented: InvalidArgument.
  static absl::StatusOr<Normalizer> FromJson(const nlohmann::json& value);

  // Memory for a rewritten text, to be used again.
  struct Storage {
    AlignedText now;
    AlignedText next;
    // Gives memory of texts larger than `num_bytes` back.
    void DropIfAbove(size_t num_bytes) {
      for (AlignedText* text : {&now, &next}) {
        if (text->text.capacity() > num_bytes) *text = AlignedText();
      }
    }
  };

  // The rewritten `span`: a view of `*storage`, or `span` itself if nothing changes.
  TextSpan Apply(const TextSpan& span, bool track, Storage* storage) const;

 private:
  enum class Kind { kNfc, kReplace, kPrepend };
  struct Step {
    Kind kind;
    std::string pattern;
    std::string content;
  };
  absl::Status Add(const nlohmann::json& value, const std::string& path, int depth);

  std::vector<Step> steps_;
  std::unique_ptr<const Nfc> nfc_;  // if a step is kNfc
};

}  // namespace liquid

#endif  // LIQUID_DATA_NORMALIZER_H_
