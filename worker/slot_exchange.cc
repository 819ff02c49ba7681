#include "worker/slot_exchange.h"

#include <algorithm>
#include <map>
#include <utility>

#include "proto/slot_set.h"

namespace liquid {

bool SlotExchange::AllDone(int64_t step) const {
  SlotSet all;
  std::map<int, int> num_digests;
  std::vector<int> audited;
  for (const auto& word : words_) {
    if (!word.has_value() || word->step() != step) return false;
    const std::optional<SlotSet> slots = SlotSet::FromRanges(word->slots());
    if (!slots.has_value() || all.Overlaps(*slots)) return false;
    all.Add(*slots);
    for (const auto& [slot, digest] : word->digests()) {
      ++num_digests[slot];
      if (slots->Contains(slot)) audited.push_back(slot);
    }
  }
  if (all != SlotSet(0, slots_per_step_)) return false;
  return std::all_of(audited.begin(), audited.end(),
                     [&](int slot) { return num_digests[slot] >= 2; });
}

std::optional<SlotExchange::Disagreement> SlotExchange::FindDisagreement(int64_t step) const {
  std::map<int, std::pair<int, std::string>> first;  // by slot: who, what
  for (int place = 0; place < static_cast<int>(words_.size()); ++place) {
    const auto& word = words_[place];
    if (!word.has_value() || word->step() != step) continue;
    for (const auto& [slot, digest] : word->digests()) {
      const auto [seen, is_first] = first.try_emplace(slot, place, digest);
      if (!is_first && seen->second.second != digest) {
        return Disagreement{slot, seen->second.first, place, seen->second.second, digest};
      }
    }
  }
  return std::nullopt;
}

}  // namespace liquid
