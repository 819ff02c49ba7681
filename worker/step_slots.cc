#include "worker/step_slots.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace liquid {
namespace {

absl::StatusOr<std::set<int>> SlotsOf(const Plan& plan, int slots_per_step) {
  std::set<int> slots;
  for (const SlotRange& range : plan.slots()) {
    bool possible =
        range.begin() >= 0 && range.begin() < range.end() && range.end() <= slots_per_step;
    for (int slot = range.begin(); possible && slot < range.end(); ++slot) {
      possible = slots.insert(slot).second;
    }
    if (!possible) {
      return absl::InvalidArgumentError(
          absl::StrCat("the plan of step ", plan.step(), " has slots ", range.begin(), " to ",
                       range.end(), " of ", slots_per_step, ", or a slot twice"));
    }
  }
  return slots;
}

}  // namespace

SlotRanges ToRanges(const std::set<int>& slots) {
  SlotRanges ranges;
  for (const int slot : slots) {
    if (ranges.empty() || ranges.rbegin()->end() != slot) {
      SlotRange* range = ranges.Add();
      range->set_begin(slot);
    }
    ranges.rbegin()->set_end(slot + 1);
  }
  return ranges;
}

absl::StatusOr<bool> StepSlots::Take(const Plan& plan) {
  LIQUID_ASSIGN_OR_RETURN(const std::set<int> slots, SlotsOf(plan, slots_per_step_));
  for (const int slot : plan.audit_slots()) {
    if (slot < 0 || slot >= slots_per_step_ || slots.contains(slot)) {
      return absl::InvalidArgumentError(absl::StrCat("the plan of step ", plan.step(), " has slot ",
                                                     slot, " audited by its owner"));
    }
  }
  const bool is_void = plan.anew() && plan.generation() != generation_;
  const bool keeps = plan.step() == step_ && !is_void &&
                     std::includes(slots.begin(), slots.end(), done_.begin(), done_.end());
  const bool nothing_lost = keeps || done_.empty();
  if (!keeps) Forget();
  step_ = plan.step();
  generation_ = plan.generation();
  todo_.clear();
  digested_ = std::set<int>(plan.digest_slots().begin(), plan.digest_slots().end());
  for (const int slot : slots) {
    if (!done_.contains(slot)) {
      todo_.push_back({.slot = slot, .counts = true, .wants_digest = digested_.contains(slot)});
    }
  }
  for (const int slot : slots) {  // of a time when nobody wanted its digest
    if (done_.contains(slot) && digested_.contains(slot) && !digests_.contains(slot)) {
      todo_.push_back({.slot = slot, .counts = false, .wants_digest = true});
    }
  }
  digested_.insert(plan.audit_slots().begin(), plan.audit_slots().end());
  for (const int slot : plan.audit_slots()) {
    if (!digests_.contains(slot)) {
      todo_.push_back({.slot = slot, .counts = false, .wants_digest = true});
    }
  }
  return nothing_lost;
}

std::vector<StepSlots::Task> StepSlots::Begin(int count) {
  const auto end = todo_.begin() + std::min(count, num_left());
  std::vector<Task> begun(todo_.begin(), end);
  todo_.erase(todo_.begin(), end);
  return begun;
}

void StepSlots::Done(const Task& task, const std::string& digest) {
  if (task.counts) done_.insert(task.slot);
  if (task.wants_digest) digests_[task.slot] = digest;
}

SlotRanges StepSlots::GiveBack(int64_t step, const SlotRanges& ranges) {
  std::set<int> given;
  if (step != step_) return ToRanges(given);
  for (const SlotRange& range : ranges) {
    std::erase_if(todo_, [&](const Task& task) {
      const bool goes = task.counts && task.slot >= range.begin() && task.slot < range.end();
      if (goes) given.insert(task.slot);
      return goes;
    });
  }
  return ToRanges(given);
}

void StepSlots::Forget() {
  step_ = 0;
  todo_.clear();
  done_.clear();
  digests_.clear();
}

SlotsDone StepSlots::ToMessage() const {
  SlotsDone message;
  message.set_step(step_);
  *message.mutable_slots() = ToRanges(done_);
  for (const auto& [slot, digest] : digests_) {
    if (digested_.contains(slot)) (*message.mutable_digests())[slot] = digest;
  }
  return message;
}

}  // namespace liquid
