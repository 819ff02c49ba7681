// The regular expressions of tokenizer files: a matcher for the part of the Oniguruma syntax that
// they use, with backtracking, leftmost alternatives first.
//
// Implemented: literals; classes [a-z\p{L}] and [^..]; \p{L Lu Ll Lt Lm Lo M N P S}, \s, \S, \r,
// \n, \t and escaped punctuation; groups (?:..) and (?i:..); alternatives; ? * + {n} {n,m} on
// single characters, also possessive ?+ *+ ++; ? on groups; (?!x) for a single character x.
#ifndef LIQUID_DATA_PATTERN_H_
#define LIQUID_DATA_PATTERN_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "data/pattern_automaton.h"
#include "data/pattern_node.h"

namespace liquid {

// Constant after Compile(): any thread.
class Pattern {
 public:
  // InvalidArgument names what is not implemented and where. A pattern that could match nothing
  // is refused too: it would not split anything.
  static absl::StatusOr<Pattern> Compile(std::string_view source);

  // Bytes of the match that begins at text[at]; 0 if there is none. `at` < text.size(); valid
  // UTF-8.
  size_t MatchAt(std::string_view text, size_t at) const {
    if (automaton_.has_value()) {
      const char* begin = text.data() + at;
      const char* match = automaton_->Match(begin, text.data() + text.size());
      if (match != nullptr) return static_cast<size_t>(match - begin);
    }
    return MatchByBacktracking(text, at);
  }
  // The same, slower.
  size_t MatchByBacktracking(std::string_view text, size_t at) const;

  // The first place from `at` on where a match may begin, by its first byte; the text's end if
  // there is none.
  size_t NextCandidate(std::string_view text, size_t at) const {
    while (at < text.size() && !may_begin_[static_cast<uint8_t>(text[at])]) ++at;
    return at;
  }

 private:
  friend class PatternParser;
  const char* Match(int node, const char* p, const char* end) const;
  bool NodeMayBeginWith(int node, uint32_t ascii) const;
  bool MayBeEmpty(int node) const;

  std::vector<PatternNode> nodes_;
  std::vector<int> roots_;                         // the alternatives
  std::array<std::vector<int>, 128> ascii_roots_;  // those that a character may begin
  std::array<bool, 256> may_begin_ = {};           // by first byte
  std::optional<PatternAutomaton> automaton_;
};

}  // namespace liquid

#endif  // LIQUID_DATA_PATTERN_H_
