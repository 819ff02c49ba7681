// Reports, commits, and verdicts on wrong answers.
#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/exit_code.h"
#include "coordinator/admission.h"
#include "coordinator/job_machine.h"
#include "coordinator/refuse.h"

namespace liquid {
namespace {

constexpr int kDivergence = static_cast<int>(ExitCode::kDivergence);
constexpr double kAverageWeight = 0.1;  // of the newest value in a running average

double RunningAverage(double average, double value) {
  return average == 0 ? value : (1 - kAverageWeight) * average + kAverageWeight * value;
}

}  // namespace

// --- Reports.

// Does it fit the lease of its step?
absl::Status JobMachine::CheckReport(int64_t gang, const StepReport& report) const {
  const JobRecord::StepLease* lease = record_.FindLease(report.step());
  if (lease == nullptr) return Refuse("a report of step ", report.step(), ", which is not leased");
  if (report.generation() != lease->generation) {
    return Refuse("generation ", report.generation(), " is over; step ", report.step(),
                  " is of generation ", lease->generation);
  }
  const auto share = lease->shares.find(gang);
  const auto slots = SlotSet::FromRanges(report.slots());
  if (!slots.has_value() ||
      !(*slots == (share == lease->shares.end() ? SlotSet() : share->second))) {
    return Refuse("a report of step ", report.step(), " with other slots than were leased to gang ",
                  gang);
  }
  const int64_t begin = record_.stream().StreamBegin(report.step());
  const int64_t end = record_.stream().StreamEnd(report.step());
  if (report.stream_begin() != begin || report.stream_end() != end) {
    return Refuse("step ", report.step(), " has rows ", report.stream_begin(), " to ",
                  report.stream_end(), " of the stream instead of ", begin, " to ", end);
  }
  if (report.fingerprint().empty()) return Refuse("step ", report.step(), " has no fingerprint");
  return absl::OkStatus();
}

void JobMachine::OnStep(int64_t gang, const StepReport& report, absl::Time now, Actions* actions) {
  Member* member = Find(gang);
  if (!member->is_member) {  // drained: the others say the same
    member->status.set_applied_step(report.step());
    return;
  }
  // Said before it heard of the regroup: its `ready` will say it again.
  if (!member->is_working && report.generation() < record_.generation()) return;
  const int64_t next = member->status.applied_step() + 1;
  if (!member->is_working || report.step() != next) {
    return Violate(
        gang,
        absl::StrCat("a report of step ", report.step(), " where step ", next, " was expected"),
        now, actions);
  }
  if (const absl::Status status = CheckReport(gang, report); !status.ok()) {
    return Violate(gang, std::string(status.message()), now, actions);
  }
  reports_.Add(gang, report);
  member->status.set_applied_step(report.step());
  if (report.step() == record_.committed_step() + 1) member->done_at = now;
  int num_slots = 0;
  for (const SlotRange& range : report.slots()) num_slots += range.end() - range.begin();
  const double seconds =
      report.compute_seconds() > 0 ? report.compute_seconds() : report.step_seconds();
  if (num_slots > 0 && seconds > 0 && std::isfinite(seconds)) {
    const bool is_guessed = std::exchange(member->is_rate_guessed, false);
    member->status.set_slots_per_second(
        RunningAverage(is_guessed ? 0 : member->status.slots_per_second(), num_slots / seconds));
  }
  CommitWhatIsReported(now, actions);
}

// --- Commits.

void JobMachine::CommitWhatIsReported(absl::Time now, Actions* actions) {
  const int64_t before = record_.committed_step();
  while (num_working_ > 0 && reports_.Count(record_.committed_step() + 1) >= num_working_) {
    const int64_t step = record_.committed_step() + 1;
    const auto fingerprint = AgreeOn(step, now, actions);
    if (!fingerprint.has_value()) return;
    CommitStep(step, *fingerprint, actions);
  }
  if (record_.committed_step() == before) return;
  num_troubles_ = 0;
  reachability_.Clear();
  reports_.ForgetUpTo(record_.committed_step());
  LeaseAhead(now, actions);
  StartStep(now);
  StealForIdle(now, actions);
}

// What the reports of `step` say its fingerprint is. Nullopt if some gangs, or the job, had to be
// given up over it.
std::optional<std::string> JobMachine::AgreeOn(int64_t step, absl::Time now, Actions* actions) {
  const std::string expected = record_.ExpectedFingerprint(step);
  const StepReports::Agreement agreement = reports_.Agree(step, expected);
  if (agreement.fingerprint.empty()) {
    const std::string error = absl::StrCat(
        "step ", step, " came out different: fingerprint ", agreement.tied[0], " of gang ",
        agreement.tied_gangs[0], ", ", agreement.tied[1], " of gang ", agreement.tied_gangs[1],
        "; look for another build, another machine or bad memory");
    Fail(error, absl::DataLossError(error), kDivergence, actions);
    return std::nullopt;
  }
  if (!expected.empty() && expected != agreement.fingerprint) {
    const std::string error =
        absl::StrCat("step ", step, " was done again and came out different: fingerprint ",
                     agreement.fingerprint, ", before ", expected,
                     "; look for another build, another machine or bad memory");
    Fail(error, absl::DataLossError(error), kDivergence, actions);
    return std::nullopt;
  }
  if (agreement.minority.empty()) return agreement.fingerprint;
  Departures wrong;
  for (const int64_t gang : agreement.minority) {
    const std::string why = absl::StrCat("its weights after step ", step,
                                         " have another fingerprint than those of "
                                         "most gangs, ",
                                         agreement.fingerprint);
    const Member* member = Find(gang);
    const std::string who = member == nullptr ? "" : DescribeGang(member->status);
    wrong.emplace_back(gang, why);
    Close(gang, absl::DataLossError(absl::StrCat(who, ": ", why)), actions);
    actions->push_back({.kind = Action::Kind::kWarn, .text = absl::StrCat(who, ": ", why)});
  }
  Remove(wrong, now, actions);
  return std::nullopt;
}

void JobMachine::CommitStep(int64_t step, const std::string& fingerprint, Actions* actions) {
  LedgerEntry entry;
  Commit& commit = *entry.mutable_commit();
  *commit.mutable_shares() = record_.SharesOf(step);
  *commit.mutable_report() = reports_.Combine(step, fingerprint);
  SlotRange& all = *commit.mutable_report()->add_slots();
  all.set_begin(0);
  all.set_end(record_.opened().slots_per_step());
  const double seconds = commit.report().step_seconds();
  if (seconds > 0 && std::isfinite(seconds)) {
    step_seconds_ = RunningAverage(step_seconds_, seconds);
  }
  Record(std::move(entry), actions);
  planned_.erase(step);
  undecidable_.erase(undecidable_.begin(), undecidable_.lower_bound({step + 1, 0}));
  Order order;
  order.mutable_committed()->set_generation(record_.generation());
  order.mutable_committed()->set_step(step);
  for (const auto& [number, member] : gangs_) {
    if (member.is_here) Send(number, order, actions);
  }
  if (early_eval_.step() == step) {
    LedgerEntry eval;
    *eval.mutable_eval()->mutable_report() = std::exchange(early_eval_, EvalReport());
    Record(std::move(eval), actions);
  }
}

void JobMachine::OnCheckpoint(int64_t gang, const CheckpointReport& report, absl::Time now,
                              Actions* actions) {
  const bool is_last = record_.committed_step() == record_.opened().num_steps();
  if (!report.error().empty()) {
    actions->push_back({.kind = Action::Kind::kWarn,
                        .text = absl::StrCat("no checkpoint of step ", report.step(), ": ",
                                             report.error(), "; training goes on")});
    save_wanted_.reset();
    // Nothing goes on after the last step: a second failure is the gang's error.
    Member* member = Find(gang);
    if (is_last && member->is_member && !record_.finished().has_value()) {
      SendStop(member, "the last checkpoint is missing", /*save=*/true, actions);
    }
    return;
  }
  if (report.step() < 0 || report.step() > record_.committed_step() || report.directory().empty()) {
    return Violate(gang,
                   absl::StrCat("checkpoint of step ", report.step(), ", which is not committed"),
                   now, actions);
  }
  const bool is_known = record_.last_checkpoint().directory() == report.directory();
  if (is_known || IsDone()) return;
  if (save_wanted_.has_value() && report.step() >= *save_wanted_) save_wanted_.reset();
  LedgerEntry entry;
  *entry.mutable_checkpoint()->mutable_report() = report;
  Record(std::move(entry), actions);
  FinishIfComplete(actions);
}

void JobMachine::OnEval(int64_t gang, const EvalReport& report, absl::Time now, Actions* actions) {
  const bool is_applied = report.step() <= Find(gang)->status.applied_step();
  if (options_.job.training().eval_samples() > 0) answering_ = {report.step(), gang};
  if (report.step() > record_.committed_step() && is_applied) {
    early_eval_ = report;  // others have not reported the step yet
    return;
  }
  if (report.step() < 0 || report.step() > record_.committed_step()) {
    return Violate(gang, absl::StrCat("eval of step ", report.step(), ", which is not committed"),
                   now, actions);
  }
  const bool is_known = record_.last_eval_step() >= report.step();
  if (is_known || IsDone()) return;
  LedgerEntry entry;
  *entry.mutable_eval()->mutable_report() = report;
  Record(std::move(entry), actions);
  FinishIfComplete(actions);
}

// --- Wrong answers.

void JobMachine::OnAuditResult(int64_t gang, const AuditResult& result, absl::Time now,
                               Actions* actions) {
  const Member* member = Find(gang);
  const bool takes_part = member->is_working || member->owes_work;
  if (!takes_part || result.generation() < formed_generation_) return;
  const std::pair<int64_t, int> key(result.step(), result.slot());
  if (phase_ == Phase::kRegrouping && regroup_after_ >= 0 && !result.theirs().empty()) {
    // The step cannot end, so the boundary is never reached.
    distrusted_.insert(gang);
    distrusted_.insert(result.other_gang());
    return BeginRegroup("two gangs disagree on a slot", -1, now, actions);
  }
  if (phase_ != Phase::kSteady || result.generation() != record_.generation()) return;
  if (!result.theirs().empty()) {
    if (!disputes_.contains(key)) OpenDispute(gang, result);
  } else if (const auto found = disputes_.find(key); found != disputes_.end()) {
    found->second.Vote(gang, result.digest());
  }
  if (disputes_.contains(key)) AdvanceDispute(result.step(), result.slot(), now, actions);
}

void JobMachine::OpenDispute(int64_t gang, const AuditResult& result) {
  const auto planned = planned_.find(result.step());
  if (planned == planned_.end() || result.digest() == result.theirs()) return;
  if (!planned->second.auditors.contains(result.slot())) return;
  const Member* one = Find(gang);
  const Member* other = Find(result.other_gang());
  if (one == nullptr || other == nullptr || one == other || !one->is_working ||
      !other->is_working) {
    return;
  }
  disputes_.emplace(std::pair(result.step(), result.slot()),
                    Dispute(gang, result.digest(), result.other_gang(), result.theirs()));
}

void JobMachine::AdvanceDispute(int64_t step, int slot, absl::Time now, Actions* actions) {
  Dispute& dispute = disputes_.at({step, slot});
  if (const auto verdict = dispute.Decide(); verdict.has_value()) {
    const Dispute decided = dispute;
    disputes_.erase({step, slot});
    return Judge(step, slot, decided, verdict->liars, now, actions);
  }
  std::vector<int64_t> others;
  for (const auto& [number, member] : gangs_) {
    if (member.is_working) others.push_back(number);
  }
  Order order;
  order.mutable_audit()->set_generation(record_.generation());
  order.mutable_audit()->set_step(step);
  order.mutable_audit()->set_slot(slot);
  for (const int64_t gang : dispute.AskNext(others)) Send(gang, order, actions);
}

void JobMachine::Judge(int64_t step, int slot, const Dispute& dispute,
                       const std::vector<int64_t>& liars, absl::Time now, Actions* actions) {
  LedgerEntry entry;
  WrongAnswer& wrong = *entry.mutable_wrong_answer();
  wrong.set_generation(record_.generation());
  wrong.set_step(step);
  wrong.set_slot(slot);
  for (const WrongAnswer::Vote& vote : dispute.votes()) *wrong.add_votes() = vote;
  Departures departures;
  for (const int64_t liar : liars) {
    const GangStatus& status = Find(liar)->status;
    const std::string why = absl::StrCat("computed slot ", slot, " of step ", step, " wrong");
    const std::string text = absl::StrCat(DescribeGang(status), " on host ", status.host(), " ",
                                          why, "; look for bad memory or a bad processor there");
    wrong.set_liar(liar);
    Record(entry, actions);
    actions->push_back({.kind = Action::Kind::kWarn, .text = text});
    Close(liar, absl::DataLossError(text), actions);
    departures.emplace_back(liar, absl::StrCat("it ", why));
  }
  if (!departures.empty()) return Remove(departures, now, actions);
  const std::string reason =
      absl::StrCat("gangs ", dispute.first(), " and ", dispute.second(), " disagree on slot ", slot,
                   " of step ", step, ", and it cannot be told which is wrong");
  Record(std::move(entry), actions);
  actions->push_back({.kind = Action::Kind::kWarn, .text = reason});
  undecidable_.insert({step, slot});
  distrusted_.insert(dispute.first());
  distrusted_.insert(dispute.second());
  BeginRegroup(reason, -1, now, actions);
}

}  // namespace liquid
