// A pattern as a table over ASCII: a state and the next character give the next state.
#ifndef LIQUID_DATA_PATTERN_AUTOMATON_H_
#define LIQUID_DATA_PATTERN_AUTOMATON_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "data/pattern_node.h"

namespace liquid {

// Finds what backtracking finds: of a pattern's ways to match, the first in order. A state is what
// backtracking could still be trying, in its order; whatever comes after a way that has matched is
// not in it. That a way has matched is found at the character behind it, which decides what must
// not follow. Constant after Build(): any thread. Source: the priorities of threads in Russ Cox,
// "Regular Expression Matching: the Virtual Machine Approach", 2009, with the subset construction
// of states.
class PatternAutomaton {
 public:
  // Nothing if it would have more than kMaxStates states, or takes too long to build.
  static constexpr size_t kMaxStates = 1024;
  static std::optional<PatternAutomaton> Build(const std::vector<PatternNode>& nodes,
                                               const std::vector<int>& roots);

  // The end of the match that begins at `begin`, `begin` if there is none, or null if that depends
  // on a character beyond ASCII. `begin` < `end`.
  const char* Match(const char* begin, const char* end) const {
    const char* match = begin;
    uint32_t row = 0;
    for (const char* p = begin;; ++p) {
      const size_t symbol = p < end ? symbols_[static_cast<uint8_t>(*p)] : kEndOfText;
      const uint32_t next = transitions_[row + symbol];
      if ((next & kMatchedBefore) != 0) match = p;
      row = next & ~kMatchedBefore;
      if (row >= kDead) return row == kDead ? match : nullptr;
    }
  }

 private:
  friend class PatternAutomatonBuilder;
  // Symbols: the end, any character beyond ASCII, and characters that all sets take alike.
  static constexpr size_t kEndOfText = 0;
  static constexpr size_t kBeyondAscii = 1;
  // Transitions: where the next state's row begins, or one of the last two, and whether there is a
  // match before the character.
  static constexpr uint32_t kMatchedBefore = uint32_t{1} << 31;
  static constexpr uint32_t kDead = kMatchedBefore - 2;     // no way goes on
  static constexpr uint32_t kUnknown = kMatchedBefore - 1;  // beyond ASCII

  std::array<uint8_t, 256> symbols_ = {};  // by byte
  std::vector<uint32_t> transitions_;      // [states, symbols]
};

}  // namespace liquid

#endif  // LIQUID_DATA_PATTERN_AUTOMATON_H_
