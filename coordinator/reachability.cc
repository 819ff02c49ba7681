#include "coordinator/reachability.h"

#include <algorithm>

namespace liquid {

void Reachability::NoteMissing(int64_t gang, int64_t other, int64_t generation) {
  Tries& tries = pairs_[std::minmax(gang, other)];
  if (tries.generation >= generation) return;
  tries.generation = generation;
  ++tries.count;
}

void Reachability::Forget(int64_t gang) {
  std::erase_if(pairs_, [gang](const auto& item) {
    return item.first.first == gang || item.first.second == gang;
  });
}

std::optional<Reachability::CutOff> Reachability::FindCutOff() const {
  for (const auto& [pair, tries] : pairs_) {
    if (tries.count >= kMostTries) return CutOff{pair.first, pair.second};
  }
  return std::nullopt;
}

}  // namespace liquid
