#include "worker/slot_exchange.h"

#include <algorithm>
#include <map>
#include <utility>

namespace liquid {

bool SlotExchange::AllDone(int64_t step) const {
  std::vector<int> times(static_cast<size_t>(slots_per_step_));
  std::map<int, int> num_digests;
  std::vector<int> audited;
  for (const auto& word : words_) {
    if (!word.has_value() || word->step() != step) return false;
    for (const SlotRange& range : word->slots()) {
      for (int slot = range.begin(); slot < range.end(); ++slot) {
        if (slot < 0 || slot >= slots_per_step_ || ++times[slot] > 1) return false;
        if (word->digests().contains(slot)) audited.push_back(slot);
      }
    }
    for (const auto& [slot, digest] : word->digests()) ++num_digests[slot];
  }
  for (const int count : times) {
    if (count != 1) return false;
  }
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
