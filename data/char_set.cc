#include "data/char_set.h"

#include <algorithm>

namespace liquid {
namespace {

// ASCII letters that fold together with one more letter: long s, and the Kelvin sign.
constexpr std::pair<char, uint32_t> kForeignCases[] = {{'s', 0x17F}, {'k', 0x212A}};

}  // namespace

void CharSet::AddOtherCases() {
  const auto given = ranges_;
  const auto has = [&given](uint32_t c) {
    return std::any_of(given.begin(), given.end(),
                       [c](const auto& r) { return r.first <= c && c <= r.second; });
  };
  for (uint32_t c = 'a'; c <= 'z'; ++c) {
    if (!has(c) && !has(c - 'a' + 'A')) continue;
    AddRange(c, c);
    AddRange(c - 'a' + 'A', c - 'a' + 'A');
    for (const auto& [letter, other] : kForeignCases) {
      if (static_cast<uint32_t>(letter) == c) AddRange(other, other);
    }
  }
}

void CharSet::Finish() {
  for (uint32_t c = 0; c < 128; ++c) ascii_[c] = Search(c);
}

bool CharSet::Search(uint32_t c) const {
  bool found = classes_->Is(c, mask_);
  for (const auto& [first, last] : ranges_) {
    if (found) break;
    found = first <= c && c <= last;
  }
  return found != negated_;
}

}  // namespace liquid
