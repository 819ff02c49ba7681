// Who does how many slots of a step: by measured speed, so that all are done at the same time.
// Pure functions.
#ifndef LIQUID_COORDINATOR_SCHEDULER_H_
#define LIQUID_COORDINATOR_SCHEDULER_H_

#include <cstdint>
#include <map>
#include <vector>

#include "proto/slot_set.h"

namespace liquid {

// One gang, as the scheduler sees it.
struct GangSpeed {
  int64_t gang = 0;
  double slots_per_second = 0;  // 0: unknown, taken for the mean of the known
  int num_kept = 0;             // slots of this step that it has or is doing already
  bool needs_one = false;       // its speed was measured long ago: one slot, to measure it again
  int num_before = -1;          // of the step before; -1: none
};

// How many slots each gets, those it keeps included, in the order of `gangs`; together they are
// `num_slots` (at least the sum of num_kept). Nobody ends later than the best split of equal slots
// has it: each gets its whole share of the total rate, and those left over go one by one to
// whoever would finish one first, at equality to the lowest number. The split of the step before is
// kept as long as it is not more than 5% slower: measurements waver, and who keeps its slots has
// read their rows ahead. O(gangs log gangs).
std::vector<int> SplitSlots(int num_slots, const std::vector<GangSpeed>& gangs);

// Cuts `open` into `counts` slots for each: contiguous where `open` is, in the order of the counts,
// whose sum is open.size().
std::vector<SlotSet> CutSlots(const SlotSet& open, const std::vector<int>& counts);

// How far a gang is in the step, as last heard.
struct Standing {
  double slots_per_second = 0;  // > 0
  int num_left = 0;             // not begun, when `seconds_ago`
  double seconds_ago = 0;
};

// How many of the slots that `victim` has not begun should go to a gang that has nothing left and
// does `thief_slots_per_second` > 0: in proportion to the speeds, at least one; 0 if that would not
// end sooner. A victim that is later than its speed let expect has a half of its slots left.
int SlotsToSteal(const Standing& victim, double thief_slots_per_second);

}  // namespace liquid

#endif  // LIQUID_COORDINATOR_SCHEDULER_H_
