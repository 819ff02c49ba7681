// Generations: who is in, who has which state, and how work goes on after a change.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "coordinator/admission.h"
#include "coordinator/job_machine.h"
#include "coordinator/refuse.h"

namespace liquid {
namespace {

// From then on a failing exchange is not tried again at once.
constexpr int kMaxTroublesAtOnce = 3;

}  // namespace

// --- Changes of membership.

void JobMachine::ChangeGeneration(const std::string& reason, Actions* actions) {
  LedgerEntry entry;
  GenerationChange& change = *entry.mutable_generation();
  change.set_generation(record_.generation() + 1);
  change.set_reason(reason);
  for (const auto& [number, member] : gangs_) {
    if (!member.is_member) continue;
    GangStatus& gang = *change.add_gangs();
    gang = member.status;
    const GangStatus* recorded = record_.FindGang(number);
    gang.set_slots_done(recorded == nullptr ? 0 : recorded->slots_done());
  }
  Record(std::move(entry), actions);
}

// All traces of a gang but in the ledger.
void JobMachine::Forget(int64_t gang) {
  reachability_.Forget(gang);
  const auto found = gangs_.find(gang);
  if (found == gangs_.end()) return;
  if (found->second.is_working) --num_working_;
  reports_.Forget(gang);
  idle_.erase(gang);
  if (planned_checkpoint_.second == gang) planned_checkpoint_.second = 0;
  std::erase_if(finishes_, [gang](const auto& item) { return item.second == gang; });
  gangs_.erase(found);
}

void JobMachine::Remove(const Departures& departures, absl::Time now, Actions* actions) {
  std::string reason;
  bool must_regroup = false;
  for (const auto& [gang, why] : departures) {
    const Member* member = Find(gang);
    if (member == nullptr) continue;
    const std::string line = absl::StrCat(DescribeGang(member->status), " left: ", why);
    absl::StrAppend(&reason, reason.empty() ? "" : "; ", line);
    if (member->is_stuck && !IsDone()) {  // no regroup will say it
      actions->push_back({.kind = Action::Kind::kWarn, .text = line});
    }
    // Also a drained gang owes its part of the last step before the regroup.
    const bool is_missed = member->owes_work && phase_ == Phase::kRegrouping && regroup_after_ >= 0;
    must_regroup |= member->is_member || is_missed;
    Forget(gang);
    ++version_;
  }
  if (IsDone()) return;
  if (!must_regroup) return SaveTheEnd(actions);
  if (phase_ == Phase::kGrace && !gangs_.empty()) return EndGrace(now, actions);
  BeginRegroup(reason, -1, now, actions);
}

// After a restart: everybody whom the ledger knows is back, or was waited for in vain.
void JobMachine::EndGrace(absl::Time now, Actions* actions) {
  const bool all_are_here = std::all_of(gangs_.begin(), gangs_.end(),
                                        [](const auto& item) { return item.second.is_here; });
  if (!all_are_here && now < grace_end_) return;
  std::string reason = "the coordinator was started again";
  for (const auto& [number, member] : gangs_) {
    if (!member.is_here) absl::StrAppend(&reason, "; gang ", number, " did not come back");
  }
  std::erase_if(gangs_, [](const auto& item) { return !item.second.is_here; });
  BeginRegroup(reason, -1, now, actions);
}

// Those who are to go are no members of the next generation, if anybody who has the state stays.
std::vector<int64_t> JobMachine::PartWithLeavers() {
  std::vector<int64_t> leavers;
  const bool somebody_stays = std::any_of(gangs_.begin(), gangs_.end(), [](const auto& item) {
    return item.second.is_member && item.second.is_working && !item.second.is_leaving;
  });
  if (!somebody_stays) return leavers;
  for (auto& [number, member] : gangs_) {
    if (!member.is_member || !member.is_leaving || member.is_needed) continue;
    member.is_member = false;
    if (member.is_working) --num_working_;
    member.owes_work = member.is_working;
    member.is_working = false;
    reports_.Forget(number);
    leavers.push_back(number);
  }
  return leavers;
}

// Drained gangs that are still here, if nobody else has the state. False if there are none.
bool JobMachine::TakeLeaversBack() {
  bool found = false;
  for (auto& [number, member] : gangs_) {
    if (member.is_member || !member.is_here) continue;
    member.is_member = true;
    member.is_stuck = false;
    member.is_needed = true;
    member.owes_work = false;
    found = true;
  }
  return found;
}

void JobMachine::BeginRegroup(const std::string& reason, int64_t after_step, absl::Time now,
                              Actions* actions) {
  if (IsDone()) return;
  for (auto& [number, member] : gangs_) {
    if (std::exchange(member.is_waiting, false)) member.is_member = true;
  }
  std::vector<int64_t> leavers = PartWithLeavers();
  if (std::none_of(gangs_.begin(), gangs_.end(),
                   [](const auto& item) { return item.second.is_member; })) {
    TakeLeaversBack();
  }
  const bool is_broken = retry_at_.has_value();  // the step at hand will not end
  retry_at_.reset();
  ChangeGeneration(reason, actions);
  const bool had_a_boundary = phase_ == Phase::kRegrouping && regroup_after_ >= 0;
  const bool is_at_once = after_step < 0 || is_broken || num_working_ == 0 || !releases_.empty() ||
                          !disputes_.empty() ||
                          (phase_ == Phase::kRegrouping && regroup_after_ < 0);
  regroup_after_ = is_at_once ? -1 : had_a_boundary ? regroup_after_ : after_step;
  for (const auto& [slot, dispute] : disputes_) {
    distrusted_.insert(dispute.first());
    distrusted_.insert(dispute.second());
  }
  disputes_.clear();
  releases_.clear();
  idle_.clear();
  finishes_.clear();
  load_was_ordered_ = false;
  num_awaited_ = 0;

  Order order;
  order.mutable_regroup()->set_generation(record_.generation());
  order.mutable_regroup()->set_after_step(regroup_after_);
  order.mutable_regroup()->set_reason(reason);
  const auto shared = std::make_shared<const Order>(order);
  order.mutable_regroup()->set_after_step(-1);
  const auto at_once = std::make_shared<const Order>(order);
  for (auto& [number, member] : gangs_) {
    if (!member.is_member) continue;
    ++num_awaited_;
    member.ready.reset();
    member.held = SlotSet();
    member.early.reset();
    member.is_asked = false;
    member.regroup_sent = now;
    member.was_heard_since = false;
    member.was_told_to_stop = false;  // is told again if it is still to stop
    Send(number, member.is_working ? shared : at_once, actions);
  }
  if (is_at_once) {  // the step that they owed will not come
    for (auto& [number, member] : gangs_) {
      if (std::exchange(member.owes_work, false)) leavers.push_back(number);
    }
  }
  for (const int64_t gang : leavers) {
    Send(gang, shared, actions);
    SendStop(Find(gang), "it was drained", /*save=*/false, actions);
  }
  if (num_awaited_ == 0) return BeIdle();
  phase_ = Phase::kRegrouping;
  if (regroup_after_ >= 0) {
    CommitWhatIsReported(now, actions);  // whoever left may be all that was missing
  }
}

// Nobody works: all that is not committed is to be done anew.
void JobMachine::BeIdle() {
  phase_ = Phase::kIdle;
  num_working_ = 0;
  leased_step_ = record_.committed_step();
  reports_.Clear();
  planned_.clear();
  disputes_.clear();
  releases_.clear();
  distrusted_.clear();
  start_anew_.clear();
  idle_.clear();
  finishes_.clear();
  retry_at_.reset();
}

// Two gangs that cannot connect would be regrouped for ever.
bool JobMachine::PartTheCutOff(const Member& member, const Trouble& trouble, absl::Time now,
                               Actions* actions) {
  if (trouble.generation() < formed_generation_) return false;
  for (const int64_t other : trouble.unreached()) {
    if (Find(other) == nullptr) continue;
    reachability_.NoteMissing(member.status.gang(), other, formed_generation_);
  }
  const auto cut_off = reachability_.FindCutOff();
  if (!cut_off.has_value()) return false;
  const std::string why = absl::StrCat(
      "it and ", DescribeGang(Find(cut_off->earlier)->status), " could not connect to each other ",
      Reachability::kMostTries,
      " times in a row; let their data ports through the firewall, or give --data-host an address "
      "that the other can dial");
  Close(cut_off->later, Refuse(why), actions);
  Remove({{cut_off->later, why}}, now, actions);
  return true;
}

void JobMachine::OnTrouble(const Member& member, const Trouble& trouble, absl::Time now,
                           Actions* actions) {
  if (PartTheCutOff(member, trouble, now, actions)) return;
  const bool is_expected =
      phase_ != Phase::kSteady && (phase_ != Phase::kRegrouping || regroup_after_ < 0);
  const bool is_concerned = member.is_member || member.owes_work;
  if (!is_concerned || is_expected || trouble.generation() < formed_generation_) return;
  if (++num_troubles_ > kMaxTroublesAtOnce) {
    if (!retry_at_.has_value()) {
      retry_at_ = now + absl::Seconds(options_.job.coordinator().heartbeat_timeout_seconds() / 10);
    }
    return;
  }
  const std::string reason = absl::StrCat(DescribeGang(member.status),
                                          " cannot exchange with the others: ", trouble.error());
  BeginRegroup(reason, -1, now, actions);
}

void JobMachine::OnReady(int64_t gang, const Ready& ready, absl::Time now, Actions* actions) {
  Member* member = Find(gang);
  if (member->is_stuck) return TakeBack(gang, now, actions);
  if (phase_ != Phase::kRegrouping || !member->is_member ||
      ready.generation() != record_.generation()) {
    return;
  }
  for (const StepReport& report : ready.unsettled()) {
    const JobRecord::StepLease* lease = record_.FindLease(report.step());
    const bool is_of_interest = lease != nullptr && lease->generation == report.generation() &&
                                report.step() > record_.committed_step() &&
                                !reports_.Has(gang, report.step());
    if (!is_of_interest) continue;
    if (const absl::Status status = CheckReport(gang, report); !status.ok()) {
      return Violate(gang, std::string(status.message()), now, actions);
    }
    reports_.Add(gang, report);
  }
  if (!member->ready.has_value()) --num_awaited_;
  member->ready = ready;
  member->ready_at = now;
  member->status.set_applied_step(ready.applied_step());
  if (num_awaited_ > 0) return;
  const auto num_waiting = std::count_if(gangs_.begin(), gangs_.end(),
                                         [](const auto& item) { return item.second.is_waiting; });
  if (num_waiting == 0) return Form(now, actions);
  const std::string reason = absl::StrCat(num_waiting, num_waiting == 1 ? " gang" : " gangs",
                                          " more joined before work began");
  BeginRegroup(reason, leased_step_, now, actions);
}

// --- A generation begins.

void JobMachine::Form(absl::Time now, Actions* actions) {
  const int64_t committed = record_.committed_step();
  for (int64_t step = committed + 1; reports_.Count(step) > 0; ++step) {
    if (!AgreeOn(step, now, actions).has_value()) return;
  }
  if (!WeightsAreRight(now, actions)) return;
  const int64_t step = NewestState();
  if (step < 0) return OrderLoad(now, actions);
  AdoptState(step, actions);
  phase_ = Phase::kSteady;
  formed_generation_ = record_.generation();
  leased_step_ = step;
  planned_.clear();
  SendWorld(step, actions);
  start_anew_ = std::exchange(distrusted_, {});
  SaveWhatIsDue(step, actions);
  if (!stop_reason_.empty()) {
    StopAll(actions);
  } else if (AllAreLeaving()) {
    StopIfAlone("it is to go", actions);
  }
  FinishIfComplete(actions);
  LeaseAhead(now, actions);
  if (phase_ == Phase::kSteady) DrainLeavers(now, actions);
}

// Whoever has other weights than the ledger or the reports say is left out.
bool JobMachine::WeightsAreRight(absl::Time now, Actions* actions) {
  Departures wrong;
  for (const auto& [number, member] : gangs_) {
    if (!member.is_member || member.ready->applied_step() < 0) continue;
    const int64_t step = member.ready->applied_step();
    std::string right;
    if (step <= record_.committed_step()) {
      right = record_.FingerprintAfter(step);
    } else if (reports_.Count(step) > 0) {
      right = reports_.Agree(step, record_.ExpectedFingerprint(step)).fingerprint;
    }
    if (right.empty() || right == member.ready->fingerprint()) continue;
    wrong.emplace_back(number, absl::StrCat("the fingerprint of the weights after step ", step,
                                            " differs: the job has ", right, ", the gang has ",
                                            member.ready->fingerprint()));
    Close(number, absl::FailedPreconditionError(wrong.back().second), actions);
  }
  if (!wrong.empty()) Remove(wrong, now, actions);
  return wrong.empty();
}

// The newest state that a gang has and whose way there is reported without a gap.
int64_t JobMachine::NewestState() const {
  int64_t covered = record_.committed_step();
  while (reports_.Count(covered + 1) > 0) ++covered;
  int64_t newest = -1;
  for (const auto& [number, member] : gangs_) {
    if (!member.is_member || member.ready->applied_step() > covered) continue;
    newest = std::max(newest, member.ready->applied_step());
  }
  return newest;
}

void JobMachine::OrderLoad(absl::Time now, Actions* actions) {
  if (TakeLeaversBack()) return BeginRegroup("nobody who stays has a state", -1, now, actions);
  if (load_was_ordered_) {
    const std::string why = absl::StrCat("it has no state that the ledger knows, up to step ",
                                         record_.committed_step());
    Departures all;
    for (const auto& [number, member] : gangs_) {
      if (!member.is_member) continue;
      all.emplace_back(number, why);
      Close(number, absl::FailedPreconditionError(why), actions);
    }
    return Remove(all, now, actions);
  }
  load_was_ordered_ = true;
  num_awaited_ = 0;
  Order order;
  order.mutable_load_state()->set_generation(record_.generation());
  order.mutable_load_state()->set_max_step(record_.committed_step());
  for (auto& [number, member] : gangs_) {
    if (!member.is_member) continue;
    ++num_awaited_;
    member.ready.reset();
    Send(number, order, actions);
  }
}

// The job goes on from `step`: later commits are void, earlier ones are settled.
void JobMachine::AdoptState(int64_t step, Actions* actions) {
  const Ready* donor = nullptr;
  for (const auto& [number, member] : gangs_) {
    if (!member.is_member || member.ready->applied_step() != step) continue;
    if (donor == nullptr || donor->checkpoint().empty()) donor = &*member.ready;
  }
  for (LedgerEntry& entry : HistoryEntries(record_, step, *donor)) {
    Record(std::move(entry), actions);
  }
  while (record_.committed_step() < step) {
    const int64_t next = record_.committed_step() + 1;
    const std::string fingerprint =
        reports_.Agree(next, record_.ExpectedFingerprint(next)).fingerprint;
    CommitStep(next, fingerprint, actions);
  }
  reports_.Clear();
}

void JobMachine::SendWorld(int64_t step, Actions* actions) {
  Order order;
  World& world = *order.mutable_world();
  world.set_generation(record_.generation());
  world.set_token(options_.random ? options_.random()
                                  : static_cast<uint64_t>(record_.generation()));
  world.set_step(step);
  world.set_fingerprint(record_.FingerprintAfter(step));
  world.set_evaluate(EvaluationIsDue(step) && record_.last_eval_step() < step);
  num_working_ = 0;
  transfer_step_ = 0;
  for (auto& [number, item] : gangs_) {
    if (!item.is_member) continue;
    ++num_working_;
    const bool has_state = item.ready->applied_step() == step;
    if (!has_state) transfer_step_ = step + 1;
    item.is_working = true;
    item.is_needed = false;
    item.had_state = has_state;
    const auto held = SlotSet::FromRanges(item.ready->held());
    if (has_state && held.has_value() && !distrusted_.contains(number)) item.held = *held;
    item.ready.reset();
    item.num_slots = -1;
    item.num_left = 0;
    item.step_measured = std::max(item.step_measured, step);
    item.status.set_applied_step(step);
    item.status.set_phase(item.is_leaving ? GangStatus::DRAINING : GangStatus::WORKING);
    World::Member& member = *world.add_members();
    member.set_gang(number);
    member.set_has_state(has_state);
    member.mutable_data_addresses()->Add(item.data_addresses.begin(), item.data_addresses.end());
  }
  ++version_;
  const auto shared = std::make_shared<const Order>(std::move(order));
  for (const auto& [number, member] : gangs_) {
    if (member.is_member) Send(number, shared, actions);
  }
}

// Whoever was to save the last step may have been drained, and gone now.
void JobMachine::SaveTheEnd(Actions* actions) {
  const bool is_complete = record_.is_open() && phase_ == Phase::kSteady &&
                           record_.committed_step() == record_.opened().num_steps();
  if (is_complete && !IsDone()) SaveWhatIsDue(record_.committed_step(), actions);
}

// The gang that was to write the checkpoint of this very step may be gone.
void JobMachine::SaveWhatIsDue(int64_t step, Actions* actions) {
  const bool is_saved = record_.last_checkpoint().step() >= step;
  const bool is_ordered = planned_checkpoint_.first == step;
  const bool is_due = step > 0 && (step == record_.opened().num_steps() || is_ordered ||
                                   CheckpointIsDue(step, last_checkpoint_time_));
  if (is_saved || (!is_due && !save_wanted_.has_value())) return;
  const Member* writer = Find(planned_checkpoint_.second);
  if (is_ordered && writer != nullptr &&
      (writer->is_member ? writer->had_state : writer->status.applied_step() >= step)) {
    return;  // it is at it
  }
  Order order;
  order.mutable_save_checkpoint()->set_generation(record_.generation());
  planned_checkpoint_ = {step, Writer()->status.gang()};
  Send(planned_checkpoint_.second, std::move(order), actions);
}

}  // namespace liquid
