// What one gang has to do in a step, slot by slot, and what it has done. Every rank of the gang
// keeps the same account.
#ifndef LIQUID_WORKER_STEP_SLOTS_H_
#define LIQUID_WORKER_STEP_SLOTS_H_

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/gang.pb.h"
#include "proto/slot_set.h"

namespace liquid {

class StepSlots {
 public:
  explicit StepSlots(int slots_per_step) : slots_per_step_(slots_per_step) {}

  struct Task {
    int slot = 0;
    bool counts = true;  // else it is only audited: computed for its digest
    bool wants_digest = false;
  };

  // Takes a plan of a step, of the one at hand again if it is of that step: then what is done stays
  // so. False if something was done that is not in the plan, or must be done anew: all of it is
  // forgotten, and the sums that it went into must be too. InvalidArgument, and no change, if the
  // plan cannot be.
  absl::StatusOr<bool> Take(const Plan& plan);

  // Whether `plan`, or a former one of its step and generation, was taken.
  bool has_plan(const Plan& plan) const {
    return plan.step() == step_ && plan.generation() == generation_;
  }

  // Up to `count` tasks, which count as begun.
  std::vector<Task> Begin(int count);
  void Done(const Task& task, const std::string& digest);  // digest: empty unless wanted

  // Of `ranges`, what is not begun is no longer this gang's. What was given back: nothing if the
  // ranges are of another step, or cannot be.
  SlotRanges GiveBack(int64_t step, const SlotRanges& ranges);

  // As if nothing had been done or planned.
  void Forget();

  int64_t step() const { return step_; }                           // 0: none
  int num_left() const { return static_cast<int>(todo_.size()); }  // not begun
  const SlotSet& done() const { return done_; }                    // those that count
  SlotsDone ToMessage() const;

 private:
  const int slots_per_step_;
  int64_t step_ = 0;
  int64_t generation_ = 0;  // of the latest plan
  std::set<int> digested_;  // the slots of which it wants digests
  std::deque<Task> todo_;   // by number, audits last
  SlotSet done_;
  std::map<int, std::string> digests_;  // of this step, whichever plan wanted them
};

}  // namespace liquid

#endif  // LIQUID_WORKER_STEP_SLOTS_H_
