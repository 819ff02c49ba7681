// Gangs that are stuck in a slot: the others do it too and go on, and whoever is first wins
// (docs/decisions/0003-hedging.md).
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "coordinator/admission.h"
#include "coordinator/job_machine.h"

namespace liquid {
namespace {

// All others have waited for so many times what a slot takes, and for this part of the heartbeat
// timeout. A gang of unknown speed is taken for the slowest known; one that turns out to be four
// times slower than that is still waited for.
constexpr double kSlotsToWaitFor = 5;
constexpr int kWaitsPerTimeout = 5;

}  // namespace

// Who is all that the step, or the regroup, at hand waits for: one gang, or the lesser part of
// them. Nothing if it is for others to act, or if nobody who is ready has the state.
std::optional<JobMachine::Standstill> JobMachine::FindStandstill() const {
  const int64_t step = record_.committed_step() + 1;
  const bool is_regrouping = phase_ == Phase::kRegrouping && regroup_after_ < 0;
  const bool is_in_step =
      phase_ == Phase::kSteady || (phase_ == Phase::kRegrouping && regroup_after_ >= step);
  if (!(is_in_step || is_regrouping) || !disputes_.empty() || !stop_reason_.empty()) {
    return std::nullopt;
  }
  if (is_in_step ? record_.FindLease(step) == nullptr : load_was_ordered_) return std::nullopt;
  const bool is_reported = is_in_step && reports_.Count(step) > 0;
  Standstill standstill;
  standstill.since = absl::InfinitePast();
  size_t num_ready = 0;
  bool has_state = is_in_step;
  for (const auto& [number, member] : gangs_) {
    if (member.owes_work) return std::nullopt;  // it goes anyway
    if (is_in_step ? !member.is_working : !member.is_member) continue;
    const bool is_done = member.done_at.has_value() && (!is_reported || reports_.Has(number, step));
    if (is_in_step ? !is_done : !member.ready.has_value()) {
      standstill.awaited.push_back(number);
      continue;
    }
    ++num_ready;
    standstill.since = std::max(standstill.since, is_in_step ? *member.done_at : member.ready_at);
    has_state |= is_regrouping && member.ready->applied_step() >= record_.committed_step();
  }
  const size_t num_awaited = standstill.awaited.size();
  const bool is_lesser_part = num_awaited == 1 || num_awaited < num_ready;
  if (num_awaited == 0 || num_ready == 0 || !is_lesser_part || !has_state) return std::nullopt;
  return standstill;
}

// It may be at something else than a slot that takes long.
bool JobMachine::IsBusyOtherwise(int64_t gang, const Member& member) const {
  if (!member.is_working) return true;
  if (member.has_told && phase_ == Phase::kSteady) return false;
  const int64_t step = record_.committed_step() + 1;
  const int64_t newest = phase_ == Phase::kSteady ? step - 1 : step;  // that it may have made
  const bool may_save = planned_checkpoint_.second == gang && planned_checkpoint_.first <= newest &&
                        record_.last_checkpoint().step() < planned_checkpoint_.first;
  const bool may_answer =
      answering_.second == gang && answering_.first >= step - 1 && answering_.first <= newest;
  return may_save || may_answer || save_wanted_.has_value() || transfer_step_ == step;
}

absl::Duration JobMachine::Patience(const Member& member) const {
  const auto seconds_of_slot = [](const Member& gang) {
    double rate = gang.status.slots_per_second();
    if (gang.step_rate > 0) rate = rate > 0 ? std::min(rate, gang.step_rate) : gang.step_rate;
    return rate > 0 ? gang.status.num_ranks() / rate : 0;
  };
  double seconds = seconds_of_slot(member);
  if (seconds == 0) {
    for (const auto& [number, other] : gangs_) seconds = std::max(seconds, seconds_of_slot(other));
  }
  if (seconds == 0) return absl::InfiniteDuration();
  const absl::Duration timeout =
      absl::Seconds(options_.job.coordinator().heartbeat_timeout_seconds());
  return std::max(timeout / kWaitsPerTimeout, absl::Seconds(kSlotsToWaitFor * seconds));
}

void JobMachine::GoOnWithoutTheStuck(absl::Time now, Actions* actions) {
  const std::optional<Standstill> standstill = FindStandstill();
  if (!standstill.has_value()) return;
  const auto begin_of = [&](const Member& member) {
    return std::max({standstill->since, member.left_at, member.regroup_sent});
  };
  for (const int64_t gang : standstill->awaited) {
    const Member& member = *Find(gang);
    if (IsBusyOtherwise(gang, member) || now - begin_of(member) <= Patience(member)) return;
  }
  std::string who;
  for (const int64_t gang : standstill->awaited) {
    Member& member = *Find(gang);
    absl::StrAppend(&who, who.empty() ? "" : ", ", DescribeGang(member.status));
    // It does a slot in no less: so each time it is waited for longer, and given less.
    const double rate = member.status.num_ranks() /
                        absl::ToDoubleSeconds(now - std::max(member.left_at, member.regroup_sent));
    const double known = member.status.slots_per_second();
    member.status.set_slots_per_second(known > 0 ? std::min(known, rate) : rate);
    member.is_rate_guessed = true;
    member.status.set_phase(GangStatus::STUCK);
    member.is_stuck = true;
    member.is_member = false;
    member.is_working = false;
    member.ready.reset();
    member.held = SlotSet();
    reports_.Forget(gang);
    --num_working_;
  }
  BeginRegroup(absl::StrCat("hedge: ", who, " is stuck in a slot of step ",
                            record_.committed_step() + 1, ", which the others do too"),
               -1, now, actions);
  Order order;
  order.mutable_regroup()->set_generation(record_.generation());
  order.mutable_regroup()->set_after_step(-1);
  order.mutable_regroup()->set_reason("the others went on without it");
  const auto shared = std::make_shared<const Order>(std::move(order));
  for (const int64_t gang : standstill->awaited) Send(gang, shared, actions);
}

// A gang that was stuck has answered: it goes on with the others, at the next boundary.
void JobMachine::TakeBack(int64_t gang, absl::Time now, Actions* actions) {
  Member& member = *Find(gang);
  if (member.was_told_to_stop) return;
  if (!stop_reason_.empty()) return SendStop(&member, stop_reason_, /*save=*/false, actions);
  member.is_stuck = false;
  member.status.set_phase(GangStatus::JOINING);
  ++version_;
  member.is_waiting = phase_ == Phase::kRegrouping;
  if (member.is_waiting) return;
  member.is_member = true;
  BeginRegroup(absl::StrCat(DescribeGang(member.status), " is no longer stuck"), leased_step_, now,
               actions);
}

}  // namespace liquid
