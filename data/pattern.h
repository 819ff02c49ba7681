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
#include <limits>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "data/unicode.h"

namespace liquid {

// A set of characters.
class CharSet {
 public:
  CharSet() : classes_(&CharClassTable::Get()) {}

  void AddRange(uint32_t first, uint32_t last) { ranges_.emplace_back(first, last); }
  void AddClasses(CharClassMask mask) { mask_ |= mask; }
  void Negate() { negated_ = !negated_; }
  // Adds what folds to the same as an ASCII letter in the set, as (?i: ) asks.
  void AddOtherCases();
  // To be called once, when the set is complete and before Contains() is.
  void Finish();

  bool Contains(uint32_t c) const { return c < 128 ? ascii_[c] : Search(c); }

  // The first character from `p` on that is not in the set, or `end`. Valid UTF-8.
  const char* SkipFrom(const char* p, const char* end) const {
    for (;;) {
      while (p < end && ascii_[static_cast<uint8_t>(*p)]) ++p;
      if (p == end || static_cast<uint8_t>(*p) < 0x80 || !Search(DecodeUtf8(p))) return p;
      p += Utf8Length(*p);
    }
  }

 private:
  bool Search(uint32_t c) const;
  const CharClassTable* classes_;
  std::array<bool, 256> ascii_ = {};  // by byte; false where no ASCII
  std::vector<std::pair<uint32_t, uint32_t>> ranges_;
  CharClassMask mask_ = 0;
  bool negated_ = false;
};

// One element of a pattern; what comes after it is at `next`, so that a group's last element
// leads on to what follows the group.
struct PatternNode {
  enum class Kind { kSet, kGroup, kNotFollowedBy };
  static constexpr int kEnd = -1;
  static constexpr size_t kUnlimited = std::numeric_limits<size_t>::max();

  Kind kind = Kind::kSet;
  CharSet set;
  size_t min_times = 1;
  size_t max_times = 1;
  bool possessive = false;
  std::vector<int> alternatives;  // of a group: first nodes
  int next = kEnd;
  // By the byte at which what follows would begin: false if it cannot match there. `follow_end`:
  // the same at the text's end.
  std::array<bool, 256> follow = {};
  bool follow_end = true;
};

// Constant after Compile(): any thread.
class Pattern {
 public:
  // InvalidArgument names what is not implemented and where. A pattern that could match nothing
  // is refused too: it would not split anything.
  static absl::StatusOr<Pattern> Compile(std::string_view source);

  // Bytes of the match that begins at text[at]; 0 if there is none. `at` < text.size(); valid
  // UTF-8.
  size_t MatchAt(std::string_view text, size_t at) const;

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
};

}  // namespace liquid

#endif  // LIQUID_DATA_PATTERN_H_
