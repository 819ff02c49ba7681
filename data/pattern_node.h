// What a pattern is made of.
#ifndef LIQUID_DATA_PATTERN_NODE_H_
#define LIQUID_DATA_PATTERN_NODE_H_

#include <array>
#include <cstddef>
#include <limits>
#include <vector>

#include "data/char_set.h"

namespace liquid {

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

}  // namespace liquid

#endif  // LIQUID_DATA_PATTERN_NODE_H_
