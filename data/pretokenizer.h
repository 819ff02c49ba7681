// The "pre_tokenizer" of a tokenizer.json: splits text into the words that the model encodes.
#ifndef LIQUID_DATA_PRETOKENIZER_H_
#define LIQUID_DATA_PRETOKENIZER_H_

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "data/aligned_text.h"
#include "data/pattern.h"
#include "nlohmann/json.hpp"

namespace liquid {

// A sequence of Split, Digits, Metaspace and ByteLevel. Constant after FromJson(): any thread.
class PreTokenizer {
 public:
  // Receives the words in order, none empty; valid as long as the text, or, if the pre-tokenizer
  // rewrites(), during the call only.
  using WordSink = absl::FunctionRef<void(const TextSpan&)>;

  // `value` may be null: the text is one word. What is not implemented: InvalidArgument.
  static absl::StatusOr<PreTokenizer> FromJson(const nlohmann::json& value);

  void Split(const TextSpan& text, bool track, WordSink sink) const {
    RunFrom(0, text, track, sink);
  }

  // Words are to be encoded byte by byte in the alphabet of GPT-2.
  bool byte_level() const { return byte_level_; }
  // Words are made of other text than the one split, and are gone after the sink's call.
  bool rewrites() const { return rewrites_; }
  // Splitting depends on where in the input a text stands: needs origins to be tracked.
  bool needs_origins() const { return needs_origins_; }

 private:
  enum class Kind { kPattern, kLiteral, kDigitRuns, kEachDigit, kReplaceSpaces, kAddSpace };
  enum class Behavior { kIsolated, kRemoved, kMergedWithPrevious, kMergedWithNext, kContiguous };
  enum class Prefix { kAlways, kFirst, kNever };
  struct Stage {
    Kind kind = Kind::kPattern;
    Behavior behavior = Behavior::kIsolated;
    bool invert = false;
    Prefix prefix = Prefix::kNever;
    std::vector<Pattern> pattern;  // one for kPattern
    std::string literal;           // of kLiteral; of kReplaceSpaces what stands for a space
  };
  struct Piece {
    size_t begin;
    size_t end;
    bool match;
  };

  absl::Status Add(const nlohmann::json& value, const std::string& path, int depth);
  absl::Status AddSplit(const nlohmann::json& value, const std::string& path);
  absl::Status AddMetaspace(const nlohmann::json& value, const std::string& path);
  absl::Status AddByteLevel(const nlohmann::json& value, const std::string& path);
  absl::Status AddPattern(std::string_view source, const std::string& path, Stage stage);

  void RunFrom(size_t index, const TextSpan& text, bool track, WordSink sink) const;
  void RunIsolated(size_t index, const TextSpan& text, bool track, WordSink sink) const;
  void RunRewrite(size_t index, const TextSpan& text, bool track, WordSink sink) const;
  static size_t MatchAt(const Stage& stage, std::string_view text, size_t at);
  static std::vector<Piece> Pieces(const Stage& stage, std::string_view text);

  std::vector<Stage> stages_;
  bool byte_level_ = false;
  bool needs_origins_ = false;
  bool rewrites_ = false;
};

}  // namespace liquid

#endif  // LIQUID_DATA_PRETOKENIZER_H_
