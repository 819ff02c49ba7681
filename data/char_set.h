// Sets of characters, as the patterns of tokenizer files name them.
#ifndef LIQUID_DATA_CHAR_SET_H_
#define LIQUID_DATA_CHAR_SET_H_

#include <array>
#include <cstdint>
#include <utility>
#include <vector>

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

}  // namespace liquid

#endif  // LIQUID_DATA_CHAR_SET_H_
