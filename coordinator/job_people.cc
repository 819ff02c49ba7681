// What people ask for, and what they are shown.
#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "coordinator/job_machine.h"
#include "coordinator/refuse.h"

namespace liquid {
namespace {

LedgerEntry OperatorEntry(const std::string& who, const std::string& what) {
  LedgerEntry entry;
  entry.mutable_operator_action()->set_who(who);
  entry.mutable_operator_action()->set_what(what);
  return entry;
}

}  // namespace

// --- People.

absl::StatusOr<std::string> JobMachine::OnVerb(Verb verb, const std::string& who, absl::Time now,
                                               Actions* actions) {
  const JobState now_state = state();
  const std::string is =
      absl::StrCat("the job is ", absl::AsciiStrToLower(JobState_Name(now_state)));
  const bool is_at_work = now_state == RUNNING || now_state == PAUSED;
  switch (verb) {
    case Verb::kPause:
      if (now_state != RUNNING) return Refuse("cannot pause: ", is);
      Record(OperatorEntry(who, "pause"), actions);
      return absl::StrCat("pausing after step ", leased_step_);
    case Verb::kResume:
      if (!record_.is_paused() || now_state == DONE) return Refuse("cannot resume: ", is);
      Record(OperatorEntry(who, "resume"), actions);
      LeaseAhead(now, actions);
      return absl::StrCat("going on after step ", record_.committed_step());
    case Verb::kCheckpointNow: {
      if (!is_at_work) return Refuse("cannot save: ", is);
      Record(OperatorEntry(who, "checkpoint"), actions);
      save_wanted_ = leased_step_;
      Order order;
      order.mutable_save_checkpoint()->set_generation(record_.generation());
      if (phase_ == Phase::kSteady) Send(Writer()->status.gang(), std::move(order), actions);
      return absl::StrCat("saving a checkpoint after step ", leased_step_);
    }
    case Verb::kStop:
      if (has_ended() || now_state == DONE) return Refuse("cannot stop: ", is);
      if (record_.is_open()) Record(OperatorEntry(who, "stop"), actions);
      is_stopped_ = true;
      if (!is_at_work) {  // whoever is SILENT need not come any more
        const bool was_expected = !gangs_.empty();
        gangs_.clear();
        if (was_expected) ChangeGeneration("stopped", actions);
        BeIdle();
      } else {
        stop_reason_ = absl::StrCat("stopped by ", who);
        if (phase_ == Phase::kSteady) StopAll(actions);
      }
      ++version_;
      return absl::StrCat("stopping after step ", leased_step_);
  }
  return Refuse("an unknown verb");
}

absl::StatusOr<std::string> JobMachine::OnDrain(int64_t gang, const std::string& who,
                                                absl::Time now, Actions* actions) {
  const Member* member = Find(gang);
  if (state() == DONE) return Refuse("cannot drain: the job is done");
  if (member == nullptr || !member->is_here || !(member->is_member || member->is_stuck)) {
    return absl::NotFoundError(absl::StrCat("gang ", gang, " is not in the job now"));
  }
  if (member->is_leaving || member->was_told_to_stop) {
    return Refuse("gang ", gang, " is leaving already");
  }
  const bool is_last = std::none_of(gangs_.begin(), gangs_.end(), [gang](const auto& item) {
    return item.first != gang && item.second.is_member && item.second.is_here &&
           !item.second.is_leaving;
  });
  if (is_last) return Refuse("cannot drain gang ", gang, ": it is the last gang; use stop");
  Record(OperatorEntry(who, absl::StrCat("drain ", gang)), actions);
  OnLeaveRequest(gang, now, actions);
  return absl::StrCat("gang ", gang, " goes after its present step");
}

}  // namespace liquid
