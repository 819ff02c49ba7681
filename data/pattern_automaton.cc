#include "data/pattern_automaton.h"

#include <algorithm>
#include <map>
#include <utility>

namespace liquid {
namespace {

constexpr uint32_t kNumAscii = 128;

// A way to match that has come to a set and has taken some of its characters: of a set that takes
// any number of them, no more than it must are counted.
struct Thread {
  int node;
  size_t times;
  friend auto operator<=>(const Thread&, const Thread&) = default;
};
using State = std::vector<Thread>;  // first in order first

}  // namespace

class PatternAutomatonBuilder {
 public:
  PatternAutomatonBuilder(const std::vector<PatternNode>& nodes, const std::vector<int>& roots)
      : nodes_(nodes), roots_(roots) {}

  std::optional<PatternAutomaton> Build() {
    ClassifyAscii();
    Intern(State());  // the first: threads begin at the roots
    for (size_t state = 0; state < states_.size(); ++state) {
      const State threads = *states_[state];
      for (size_t symbol = 0; symbol < samples_.size(); ++symbol) {
        automaton_.transitions_.push_back(TransitionOf(threads, state == 0, symbol));
      }
      // After the last state too: where Follow() gave up, its answers are none.
      if (states_.size() > PatternAutomaton::kMaxStates || work_ > kMaxWork) return std::nullopt;
    }
    return std::move(automaton_);
  }

 private:
  static constexpr uint32_t kNoCharacter = ~0u;
  static constexpr size_t kMaxWork = 10'000'000;  // comparisons: some milliseconds

  void ClassifyAscii() {
    automaton_.symbols_.fill(PatternAutomaton::kBeyondAscii);
    samples_ = {kNoCharacter, kNoCharacter};
    std::map<std::vector<bool>, uint8_t> symbol_of;
    for (uint32_t c = 0; c < kNumAscii; ++c) {
      std::vector<bool> taken_by;
      for (const PatternNode& node : nodes_) taken_by.push_back(node.set.Contains(c));
      const auto next = static_cast<uint8_t>(samples_.size());
      const auto [symbol, is_new] = symbol_of.try_emplace(std::move(taken_by), next);
      if (is_new) samples_.push_back(c);
      automaton_.symbols_[c] = symbol->second;
    }
  }

  size_t Intern(const State& state) {
    const auto [found, is_new] = number_of_.try_emplace(state, states_.size());
    if (is_new) states_.push_back(&found->first);
    return found->second;
  }

  uint32_t TransitionOf(const State& threads, bool is_start, size_t symbol) {
    if (symbol == PatternAutomaton::kBeyondAscii) return PatternAutomaton::kUnknown;
    next_.clear();
    seen_.clear();
    character_ = samples_[symbol];
    bool matched = false;
    if (is_start) {
      for (const int root : roots_) matched = matched || Follow({root, 0});
    }
    for (const Thread& thread : threads) matched = matched || Follow(thread);
    const uint32_t flag = matched ? PatternAutomaton::kMatchedBefore : 0;
    if (next_.empty()) return PatternAutomaton::kDead | flag;
    return static_cast<uint32_t>(Intern(next_) * samples_.size()) | flag;
  }

  // Where `thread` may go by character_, in order, appended to next_. True: it has matched before
  // the character, and what comes after it in order is not tried.
  bool Follow(Thread thread) {
    if (thread.node == PatternNode::kEnd) return true;
    if (std::find(seen_.begin(), seen_.end(), thread) != seen_.end()) return false;
    seen_.push_back(thread);
    work_ += seen_.size();
    if (work_ > kMaxWork) return true;  // enough: Build() gives up
    const PatternNode& node = nodes_[static_cast<size_t>(thread.node)];
    const bool takes = character_ != kNoCharacter && node.set.Contains(character_);
    switch (node.kind) {
      case PatternNode::Kind::kSet: {
        const bool may_take = takes && thread.times < node.max_times;
        if (may_take) Append(node, thread);
        if (thread.times < node.min_times || (may_take && node.possessive)) return false;
        break;
      }
      case PatternNode::Kind::kNotFollowedBy:
        if (takes) return false;
        break;
      case PatternNode::Kind::kGroup:
        for (const int alternative : node.alternatives) {
          if (Follow({alternative, 0})) return true;
        }
        if (node.min_times > 0) return false;
        break;
    }
    return Follow({node.next, 0});
  }

  void Append(const PatternNode& node, Thread thread) {
    ++thread.times;
    if (node.max_times == PatternNode::kUnlimited) {
      thread.times = std::min(thread.times, node.min_times);
    }
    if (std::find(next_.begin(), next_.end(), thread) == next_.end()) next_.push_back(thread);
  }

  const std::vector<PatternNode>& nodes_;
  const std::vector<int>& roots_;
  size_t work_ = 0;  // comparisons made
  PatternAutomaton automaton_;
  std::vector<uint32_t> samples_;  // a character of each symbol
  std::map<State, size_t> number_of_;
  std::vector<const State*> states_;  // keys of number_of_
  // Of the transition at hand.
  uint32_t character_ = 0;
  State next_;
  State seen_;
};

std::optional<PatternAutomaton> PatternAutomaton::Build(const std::vector<PatternNode>& nodes,
                                                        const std::vector<int>& roots) {
  return PatternAutomatonBuilder(nodes, roots).Build();
}

}  // namespace liquid
