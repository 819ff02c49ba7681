// How the job ends, and how gangs leave it: with their work done, asked to, or in error.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/exit_code.h"
#include "coordinator/admission.h"
#include "coordinator/job_machine.h"

namespace liquid {
namespace {

std::string LeaveReason(const Leave& leave) {
  switch (leave.reason()) {
    case Leave::JOB_DONE:
      return "its work is done";
    case Leave::STOPPED:
      return "stopped";
    case Leave::PREEMPTED:
      return "ended by a signal";
    default:
      return leave.error().empty() ? "an error that it did not name" : leave.error();
  }
}

// Whether every other gang would meet the same error.
bool IsOfTheJob(const Leave& leave) {
  return leave.exit_code() == static_cast<int>(ExitCode::kDivergence) ||
         leave.exit_code() == static_cast<int>(ExitCode::kData);
}

}  // namespace

// --- The end.

void JobMachine::Fail(const std::string& error, const absl::Status& status, int exit_code,
                      Actions* actions) {
  for (const auto& [number, member] : gangs_) Close(number, status, actions);
  gangs_.clear();
  ChangeGeneration("the job failed", actions);
  BeIdle();
  LedgerEntry entry;
  JobFinished& finished = *entry.mutable_job_finished();
  finished.set_state(FAILED);
  finished.set_error(error);
  finished.set_exit_code(exit_code);
  finished.set_step(record_.committed_step());
  finished.set_fingerprint(record_.FingerprintAfter(record_.committed_step()));
  Record(std::move(entry), actions);
}

// All steps are committed, the last one is evaluated and saved: nothing is left to do.
void JobMachine::FinishIfComplete(Actions* actions) {
  const int64_t num_steps = record_.opened().num_steps();
  if (record_.finished().has_value() || record_.committed_step() < num_steps ||
      record_.last_checkpoint().step() < num_steps ||
      (EvaluationIsDue(num_steps) && record_.last_eval_step() < num_steps)) {
    return;
  }
  LedgerEntry entry;
  JobFinished& finished = *entry.mutable_job_finished();
  finished.set_state(DONE);
  finished.set_step(num_steps);
  finished.set_fingerprint(record_.FingerprintAfter(num_steps));
  Record(std::move(entry), actions);
  BeIdle();
  for (auto& [number, member] : gangs_) {
    member.is_waiting = false;
    if (member.is_here) SendStop(&member, "the job is done", /*save=*/false, actions);
  }
}

void JobMachine::SendStop(Member* member, const std::string& reason, bool save, Actions* actions) {
  member->was_told_to_stop = true;
  Order order;
  order.mutable_stop()->set_generation(record_.generation());
  order.mutable_stop()->set_reason(reason);
  order.mutable_stop()->set_save(save);
  Send(member->status.gang(), std::move(order), actions);
}

// Everybody, after the last plan; one of them saves.
void JobMachine::StopAll(Actions* actions) {
  const Member* writer = Writer();
  for (auto& [number, member] : gangs_) {
    if (!(member.is_member || member.is_stuck) || !member.is_here) continue;
    SendStop(&member, stop_reason_, &member == writer, actions);
  }
}

// --- Leaving.

void JobMachine::OnDisconnected(int64_t gang, absl::Time now, Actions* actions) {
  Remove({{gang, "its connection broke"}}, now, actions);
}

void JobMachine::OnLeave(int64_t gang, const Leave& leave, absl::Time now, Actions* actions) {
  const Member& member = *Find(gang);
  Close(gang, absl::OkStatus(), actions);
  const bool is_done = record_.finished().has_value();
  if (leave.reason() == Leave::ERROR && !is_done && member.is_member) {
    int num_members = 0;
    for (const auto& [number, other] : gangs_) num_members += other.is_member ? 1 : 0;
    if (IsOfTheJob(leave) || num_members == 1) {
      Forget(gang);
      return Fail(LeaveReason(leave), absl::AbortedError(LeaveReason(leave)), leave.exit_code(),
                  actions);
    }
  }
  // One that was told to stop and has done all its plans owes nothing to the others.
  const bool owes_nothing = member.was_told_to_stop && member.is_member &&
                            phase_ == Phase::kSteady && leave.reason() != Leave::ERROR &&
                            leave.applied_step() >= leased_step_;
  const bool others_stay = std::any_of(gangs_.begin(), gangs_.end(), [gang](const auto& item) {
    return item.first != gang && item.second.is_member;
  });
  const bool has_done_its_part =
      !member.is_member && leave.reason() != Leave::ERROR && leave.applied_step() >= regroup_after_;
  if ((owes_nothing && others_stay) || has_done_its_part) {
    Forget(gang);
    ++version_;
    if (is_done) return;
    CommitWhatIsReported(now, actions);
    return SaveTheEnd(actions);
  }
  Remove({{gang, LeaveReason(leave)}}, now, actions);
}

void JobMachine::OnLeaveRequest(int64_t gang, absl::Time now, Actions* actions) {
  Member& member = *Find(gang);
  if (member.is_waiting) member.is_leaving = true;
  if (member.is_stuck && !member.was_told_to_stop) {
    return SendStop(&member, "the others went on without it", /*save=*/false, actions);
  }
  if (!member.is_member || member.is_leaving || member.was_told_to_stop) return;
  member.is_leaving = true;
  member.status.set_phase(GangStatus::DRAINING);
  ++version_;
  if (phase_ == Phase::kGrace || phase_ == Phase::kIdle) return;
  if (!AllAreLeaving()) {
    DrainLeavers(now, actions);
  } else if (phase_ == Phase::kSteady) {
    StopIfAlone("it asked to go", actions);
  }
}

// Those who are to go do the step at hand, and leave the rest to those who stay.
void JobMachine::DrainLeavers(absl::Time now, Actions* actions) {
  if (AllAreLeaving() || !stop_reason_.empty()) return;
  int64_t applied = record_.committed_step();
  std::string who;
  for (const auto& [number, member] : gangs_) {
    if (!member.is_member) continue;
    if (member.is_working) applied = std::max(applied, member.status.applied_step());
    if (member.is_leaving) {
      absl::StrAppend(&who, who.empty() ? "" : ", ", DescribeGang(member.status));
    }
  }
  if (who.empty()) return;
  BeginRegroup(absl::StrCat(who, " is to go"), std::min(leased_step_, applied + 1), now, actions);
}

// With nobody to go on, those who leave save first.
void JobMachine::StopIfAlone(const std::string& reason, Actions* actions) {
  bool save = true;
  for (auto& [number, member] : gangs_) {
    if (!member.is_member || member.was_told_to_stop) continue;
    SendStop(&member, reason, save, actions);
    save = false;
  }
}

// One that stays, and has the state already, if there is any.
const Member* JobMachine::Writer() const {
  const Member* writer = nullptr;
  int best = -1;
  for (const auto& [number, member] : gangs_) {
    if (!member.is_member || !member.is_here || !member.is_working) continue;
    const int fitness = (member.is_leaving ? 0 : 2) + (member.had_state ? 1 : 0);
    if (fitness <= best) continue;
    best = fitness;
    writer = &member;
  }
  return writer;
}

bool JobMachine::AllAreLeaving() const {
  return std::all_of(gangs_.begin(), gangs_.end(), [](const auto& item) {
    return !item.second.is_member || !item.second.is_here || item.second.is_leaving;
  });
}

}  // namespace liquid
