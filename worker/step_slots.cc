#include "worker/step_slots.h"

#include <algorithm>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status.h"

namespace liquid {
namespace {

absl::StatusOr<SlotSet> SlotsOf(const Plan& plan, int slots_per_step) {
  std::optional<SlotSet> slots = SlotSet::FromRanges(plan.slots());
  if (slots.has_value() && slots->end() <= slots_per_step) return *std::move(slots);
  return absl::InvalidArgumentError(
      absl::StrCat("the plan of step ", plan.step(), " has the slots ",
                   absl::StrJoin(plan.slots(), ", ",
                                 [](std::string* text, const SlotRange& range) {
                                   absl::StrAppend(text, range.begin(), " to ", range.end());
                                 }),
                   " of ", slots_per_step, ": one is out of range, or a slot twice"));
}

}  // namespace

absl::StatusOr<bool> StepSlots::Take(const Plan& plan) {
  LIQUID_ASSIGN_OR_RETURN(SlotSet slots, SlotsOf(plan, slots_per_step_));
  for (const int slot : plan.audit_slots()) {
    if (slot < 0 || slot >= slots_per_step_ || slots.Contains(slot)) {
      return absl::InvalidArgumentError(absl::StrCat("the plan of step ", plan.step(), " has slot ",
                                                     slot, " audited by its owner"));
    }
  }
  const bool is_void = plan.anew() && plan.generation() != generation_;
  const bool keeps = plan.step() == step_ && !is_void && slots.Contains(done_);
  const bool nothing_lost = keeps || done_.empty();
  if (!keeps) Forget();
  step_ = plan.step();
  generation_ = plan.generation();
  todo_.clear();
  digested_ = std::set<int>(plan.digest_slots().begin(), plan.digest_slots().end());
  slots.Remove(done_);
  for (const auto& [begin, end] : slots.ranges()) {
    for (int slot = begin; slot < end; ++slot) {
      todo_.push_back({.slot = slot, .counts = true, .wants_digest = digested_.contains(slot)});
    }
  }
  for (const int slot : digested_) {  // done at a time when nobody wanted its digest
    if (done_.Contains(slot) && !digests_.contains(slot)) {
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
  if (task.counts) done_.Add(task.slot, task.slot + 1);
  if (task.wants_digest) digests_[task.slot] = digest;
}

SlotRanges StepSlots::GiveBack(int64_t step, const SlotRanges& ranges) {
  const std::optional<SlotSet> wanted = SlotSet::FromRanges(ranges);
  if (step != step_ || !wanted.has_value()) return {};
  SlotSet given;
  std::erase_if(todo_, [&](const Task& task) {
    const bool goes = task.counts && wanted->Contains(task.slot);
    if (goes) given.Add(task.slot, task.slot + 1);
    return goes;
  });
  return given.ToRanges();
}

void StepSlots::Forget() {
  step_ = 0;
  todo_.clear();
  done_ = {};
  digests_.clear();
}

SlotsDone StepSlots::ToMessage() const {
  SlotsDone message;
  message.set_step(step_);
  *message.mutable_slots() = done_.ToRanges();
  for (const auto& [slot, digest] : digests_) {
    if (digested_.contains(slot)) (*message.mutable_digests())[slot] = digest;
  }
  return message;
}

}  // namespace liquid
