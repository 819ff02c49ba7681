// On a gang's leader: have all gangs done what they are to do in a step, and do they agree?
#ifndef LIQUID_WORKER_SLOT_EXCHANGE_H_
#define LIQUID_WORKER_SLOT_EXCHANGE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "proto/gang.pb.h"

namespace liquid {

// A reduction may begin when every gang has spoken, each slot is done exactly once, and a slot
// whose owner gives its digest (it is audited) has another gang's digest too: then each of them
// knows it, from the same words, and none is given more. So whatever a coordinator may order, no
// sum is ever built of too many slots or of too few.
class SlotExchange {
 public:
  SlotExchange(int num_gangs, int slots_per_step)
      : words_(static_cast<size_t>(num_gangs)), slots_per_step_(slots_per_step) {}

  // The newest word of gang `place` (its place in the member list).
  void Hear(int place, SlotsDone word) { words_[place] = std::move(word); }

  bool AllDone(int64_t step) const;

  // Two gangs that computed a slot of `step` and came to different gradients.
  struct Disagreement {
    int slot;
    int place_a;
    int place_b;
    std::string digest_a;
    std::string digest_b;
  };
  std::optional<Disagreement> FindDisagreement(int64_t step) const;

 private:
  std::vector<std::optional<SlotsDone>> words_;
  const int slots_per_step_;
};

}  // namespace liquid

#endif  // LIQUID_WORKER_SLOT_EXCHANGE_H_
