#include "coordinator/job_machine.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status.h"
#include "coordinator/admission.h"
#include "proto/job_loader.h"

namespace liquid {
namespace {

constexpr double kAverageWeight = 0.1;  // of the newest value in a running average

template <typename... Args>
absl::Status Refuse(const Args&... args) {
  return absl::FailedPreconditionError(absl::StrCat(args...));
}

double RunningAverage(double average, double value) {
  return average == 0 ? value : (1 - kAverageWeight) * average + kAverageWeight * value;
}

std::string Describe(const GangStatus& gang) {
  return absl::StrCat("gang ", gang.gang(), " (", gang.name(), ", ", gang.num_ranks(),
                      gang.num_ranks() == 1 ? " rank)" : " ranks)");
}

LedgerEntry OperatorEntry(const std::string& who, const char* what) {
  LedgerEntry entry;
  entry.mutable_operator_action()->set_who(who);
  entry.mutable_operator_action()->set_what(what);
  return entry;
}

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

}  // namespace

JobMachine::JobMachine(Options options, JobRecord record)
    : options_(std::move(options)),
      job_digest_(JobDigest(options_.job)),
      record_(std::move(record)) {}

void JobMachine::Start(absl::Time now, Actions* actions) {
  last_checkpoint_time_ = now;
  if (state() != DONE && !record_.gangs().empty()) {
    ChangeGeneration("the coordinator was started again", actions);
  }
}

void JobMachine::Record(LedgerEntry entry, Actions* actions) {
  const absl::Status status = record_.Apply(entry);
  LIQUID_CHECK(status.ok(), status.ToString());
  actions->push_back({.kind = Action::Kind::kAppend, .entry = std::move(entry)});
}

void JobMachine::Send(int64_t gang, Order order, Actions* actions) const {
  actions->push_back({.kind = Action::Kind::kSend, .gang = gang, .order = std::move(order)});
}

JobMachine::Gang* JobMachine::FindGang(int64_t gang) {
  for (Gang& candidate : gangs_) {
    if (candidate.status.gang() == gang) return &candidate;
  }
  return nullptr;
}

// --- Joining.

absl::StatusOr<int64_t> JobMachine::OnJoin(const Join& join, absl::Time now, Actions* actions) {
  if (!gangs_.empty()) {
    return Refuse(Describe(gangs_.front().status),
                  " trains this job already; a second gang is not supported yet");
  }
  LIQUID_RETURN_IF_ERROR(CheckJoin(options_.job, job_digest_, record_, join));
  is_stopped_ = false;
  if (!record_.is_open()) Record(OpeningEntry(options_.job, job_digest_, join), actions);

  Gang gang;
  gang.status.set_gang(record_.last_gang() + 1);
  gang.status.set_name(join.name());
  gang.status.set_num_ranks(join.num_ranks());
  gang.status.set_applied_step(join.applied_step());
  gang.leased_step = join.applied_step();
  gang.last_heard = now;
  const int64_t number = gang.status.gang();
  const std::string reason = absl::StrCat(Describe(gang.status), " joined");
  last_checkpoint_time_ = now;

  const bool was_done = state() == DONE;
  if (!was_done) {
    for (LedgerEntry& entry : HistoryEntries(record_, join)) Record(std::move(entry), actions);
  }
  gangs_.push_back(std::move(gang));
  if (!was_done) {
    ChangeGeneration(reason, actions);
    FinishIfComplete(actions);
  }
  Order order;
  order.mutable_welcome()->set_generation(record_.generation());
  order.mutable_welcome()->set_gang(number);
  order.mutable_welcome()->set_num_steps(record_.opened().num_steps());
  Send(number, std::move(order), actions);
  if (record_.finished().has_value()) {
    SendStop(FindGang(number), "the job is done", actions);
  } else {
    LeaseAhead(now, actions);
  }
  return number;
}

// --- Generations.

void JobMachine::ChangeGeneration(const std::string& reason, Actions* actions) {
  LedgerEntry entry;
  GenerationChange& change = *entry.mutable_generation();
  change.set_generation(record_.generation() + 1);
  change.set_reason(reason);
  for (const Gang& gang : gangs_) *change.add_gangs() = gang.status;
  Record(std::move(entry), actions);
}

void JobMachine::RemoveGang(int64_t gang, const std::string& reason, Actions* actions) {
  Gang* found = FindGang(gang);
  if (found == nullptr) return;
  const std::string text = absl::StrCat(Describe(found->status), " left: ", reason);
  is_stopped_ = is_stopped_ || found->is_leaving;
  std::erase_if(gangs_, [gang](const Gang& other) { return other.status.gang() == gang; });
  if (state() != DONE) ChangeGeneration(text, actions);
}

void JobMachine::Close(int64_t gang, const absl::Status& status, Actions* actions) {
  actions->push_back({.kind = Action::Kind::kClose, .gang = gang, .status = status});
}

void JobMachine::Fail(const std::string& error, const absl::Status& status, Actions* actions) {
  const std::vector<Gang> members = gangs_;
  for (const Gang& gang : members) {
    RemoveGang(gang.status.gang(), "the job failed", actions);
    Close(gang.status.gang(), status, actions);
  }
  LedgerEntry entry;
  JobFinished& finished = *entry.mutable_job_finished();
  finished.set_state(FAILED);
  finished.set_error(error);
  finished.set_step(record_.committed_step());
  finished.set_fingerprint(record_.FingerprintAfter(record_.committed_step()));
  Record(std::move(entry), actions);
}

// All steps are committed and the last one's checkpoint is written: nothing is left to do.
void JobMachine::FinishIfComplete(Actions* actions) {
  const int64_t num_steps = record_.opened().num_steps();
  if (record_.finished().has_value() || record_.committed_step() < num_steps ||
      record_.last_checkpoint().step() < num_steps) {
    return;
  }
  LedgerEntry entry;
  JobFinished& finished = *entry.mutable_job_finished();
  finished.set_state(DONE);
  finished.set_step(num_steps);
  finished.set_fingerprint(record_.FingerprintAfter(num_steps));
  Record(std::move(entry), actions);
}

void JobMachine::OnDisconnected(int64_t gang, absl::Time /*now*/, Actions* actions) {
  if (FindGang(gang) == nullptr) return;
  if (state() != DONE) FinishIfComplete(actions);
  RemoveGang(gang, "its connection broke", actions);
}

void JobMachine::OnTick(absl::Time now, Actions* actions) {
  const absl::Duration timeout =
      absl::Seconds(options_.job.coordinator().heartbeat_timeout_seconds());
  const std::vector<Gang> members = gangs_;
  for (const Gang& gang : members) {
    if (now - gang.last_heard <= timeout) continue;
    const std::string why =
        absl::StrCat("no heartbeat for ", absl::FormatDuration(now - gang.last_heard));
    if (state() != DONE) FinishIfComplete(actions);
    RemoveGang(gang.status.gang(), why, actions);
    Close(gang.status.gang(), absl::DeadlineExceededError(why), actions);
  }
}

// --- Work.

void JobMachine::LeaseAhead(absl::Time now, Actions* actions) {
  if (gangs_.empty() || record_.is_paused() || record_.finished().has_value()) return;
  const int64_t end =
      std::min(record_.opened().num_steps(), record_.committed_step() + options_.lease_window);
  for (Gang& gang : gangs_) {
    while (!gang.is_leaving && gang.leased_step < end) {
      const Plan plan = MakePlan(++gang.leased_step, now);
      LedgerEntry entry;
      Lease& lease = *entry.mutable_lease();
      lease.set_generation(plan.generation());
      lease.set_step(plan.step());
      lease.set_gang(gang.status.gang());
      *lease.mutable_slots() = plan.slots();
      Record(std::move(entry), actions);
      Order order;
      *order.mutable_plan() = plan;
      Send(gang.status.gang(), std::move(order), actions);
    }
  }
}

Plan JobMachine::MakePlan(int64_t step, absl::Time now) {
  const Job& job = options_.job;
  Plan plan;
  plan.set_generation(record_.generation());
  plan.set_step(step);
  SlotRange& slots = *plan.add_slots();
  slots.set_begin(0);
  slots.set_end(job.training().slots_per_step());
  plan.set_last(step == record_.opened().num_steps());
  const int64_t every = job.training().eval_every_steps();
  plan.set_evaluate_after(job.data().eval_size() > 0 &&
                          (plan.last() || (every > 0 && step % every == 0)));
  plan.set_checkpoint_after(plan.last() || CheckpointIsDue(step, now));
  if (plan.checkpoint_after()) last_checkpoint_time_ = now;
  return plan;
}

bool JobMachine::CheckpointIsDue(int64_t step, absl::Time now) const {
  const CheckpointPolicy& policy = options_.job.checkpoint();
  const auto divides = [step](int64_t every) { return every > 0 && step % every == 0; };
  return divides(policy.every_steps()) || divides(policy.keep_every_steps()) ||
         (policy.every_minutes() > 0 &&
          now - last_checkpoint_time_ >= absl::Minutes(policy.every_minutes()));
}

void JobMachine::SendStop(Gang* gang, const std::string& reason, Actions* actions) const {
  gang->is_leaving = true;
  Order order;
  order.mutable_stop()->set_generation(record_.generation());
  order.mutable_stop()->set_reason(reason);
  Send(gang->status.gang(), std::move(order), actions);
}

// --- Messages of gangs.

void JobMachine::OnMessage(int64_t gang, const GangMessage& message, absl::Time now,
                           Actions* actions) {
  Gang* found = FindGang(gang);
  if (found == nullptr) return;
  found->last_heard = now;
  switch (message.message_case()) {
    case GangMessage::kStep:
      OnStep(found, message.step(), actions);
      LeaseAhead(now, actions);
      return;
    case GangMessage::kCheckpoint:
      OnCheckpoint(found, message.checkpoint(), actions);
      return;
    case GangMessage::kEval:
      OnEval(found, message.eval(), actions);
      return;
    case GangMessage::kHeartbeat:
      return;
    case GangMessage::kLeave:
      OnLeave(gang, message.leave(), actions);
      return;
    case GangMessage::kJoin:
    case GangMessage::MESSAGE_NOT_SET:
      break;
  }
  RemoveGang(gang, "it sent an unexpected message", actions);
  Close(gang, Refuse("a message that has no place here"), actions);
}

absl::Status JobMachine::CheckReport(const Gang& gang, const StepReport& report) const {
  const int64_t next = record_.committed_step() + 1;
  if (report.generation() != record_.generation()) {
    return Refuse("generation ", report.generation(), " is over; it is ", record_.generation(),
                  " now");
  }
  if (report.step() != next || report.step() > gang.leased_step) {
    return Refuse("a report of step ", report.step(), " where step ", next, " was expected");
  }
  Commit commit;
  commit.set_gang(gang.status.gang());
  *commit.mutable_report() = report;
  return record_.CheckCommit(commit);
}

void JobMachine::OnStep(Gang* gang, const StepReport& report, Actions* actions) {
  const int64_t number = gang->status.gang();
  const std::string& expected = record_.ExpectedFingerprint(report.step());
  if (report.generation() == record_.generation() && !expected.empty() &&
      report.step() == record_.committed_step() + 1 && expected != report.fingerprint()) {
    const std::string error =
        absl::StrCat("step ", report.step(), " was done again and came out different: fingerprint ",
                     report.fingerprint(), ", before ", expected,
                     "; look for another build, another machine or bad memory");
    Fail(error, absl::DataLossError(error), actions);
    return;
  }
  if (const absl::Status status = CheckReport(*gang, report); !status.ok()) {
    RemoveGang(number, std::string(status.message()), actions);
    Close(number, Refuse(status.message()), actions);
    return;
  }
  LedgerEntry entry;
  entry.mutable_commit()->set_gang(number);
  *entry.mutable_commit()->mutable_report() = report;
  Record(std::move(entry), actions);
  Order order;
  order.mutable_committed()->set_generation(record_.generation());
  order.mutable_committed()->set_step(report.step());
  Send(number, std::move(order), actions);

  gang->status.set_applied_step(report.step());
  if (report.step_seconds() > 0 && std::isfinite(report.step_seconds())) {
    int num_slots = 0;
    for (const SlotRange& range : report.slots()) num_slots += range.end() - range.begin();
    step_seconds_ = RunningAverage(step_seconds_, report.step_seconds());
    gang->status.set_slots_per_second(
        RunningAverage(gang->status.slots_per_second(), num_slots / report.step_seconds()));
  }
}

void JobMachine::OnCheckpoint(Gang* gang, const CheckpointReport& report, Actions* actions) {
  if (!report.error().empty()) {
    actions->push_back({.kind = Action::Kind::kWarn,
                        .text = absl::StrCat("no checkpoint of step ", report.step(), ": ",
                                             report.error(), "; training goes on")});
    return;
  }
  if (report.step() < 0 || report.step() > record_.committed_step() || report.directory().empty()) {
    const int64_t number = gang->status.gang();
    RemoveGang(number, "it reported a checkpoint that cannot be", actions);
    Close(number, Refuse("checkpoint of step ", report.step(), ", which is not committed"),
          actions);
    return;
  }
  if (state() == DONE) return;  // the job's record is closed
  LedgerEntry entry;
  *entry.mutable_checkpoint()->mutable_report() = report;
  Record(std::move(entry), actions);
}

void JobMachine::OnEval(Gang* gang, const EvalReport& report, Actions* actions) {
  if (report.step() < 0 || report.step() > record_.committed_step()) {
    const int64_t number = gang->status.gang();
    RemoveGang(number, "it evaluated a step that is not committed", actions);
    Close(number, Refuse("eval of step ", report.step(), ", which is not committed"), actions);
    return;
  }
  if (state() == DONE) return;
  LedgerEntry entry;
  *entry.mutable_eval()->mutable_report() = report;
  Record(std::move(entry), actions);
}

void JobMachine::OnLeave(int64_t gang, const Leave& leave, Actions* actions) {
  if (leave.reason() == Leave::ERROR) {
    const std::string error = LeaveReason(leave);
    RemoveGang(gang, error, actions);
    Close(gang, absl::OkStatus(), actions);
    if (state() != DONE) Fail(error, absl::OkStatus(), actions);
    return;
  }
  if (state() != DONE) FinishIfComplete(actions);
  RemoveGang(gang, LeaveReason(leave), actions);
  Close(gang, absl::OkStatus(), actions);
  if (leave.reason() == Leave::STOPPED && state() != DONE) is_stopped_ = true;
}

// --- People.

absl::StatusOr<std::string> JobMachine::OnVerb(Verb verb, const std::string& who, absl::Time now,
                                               Actions* actions) {
  const JobState now_state = state();
  const std::string is =
      absl::StrCat("the job is ", absl::AsciiStrToLower(JobState_Name(now_state)));
  const int64_t after = gangs_.empty() ? record_.committed_step() : gangs_.front().leased_step;
  switch (verb) {
    case Verb::kPause:
      if (now_state != RUNNING) return Refuse("cannot pause: ", is);
      Record(OperatorEntry(who, "pause"), actions);
      return absl::StrCat("pausing after step ", after);
    case Verb::kResume:
      if (!record_.is_paused() || now_state == DONE) return Refuse("cannot resume: ", is);
      Record(OperatorEntry(who, "resume"), actions);
      LeaseAhead(now, actions);
      return absl::StrCat("going on after step ", after);
    case Verb::kCheckpointNow: {
      if (gangs_.empty() || now_state == DONE) return Refuse("cannot save: ", is);
      Record(OperatorEntry(who, "checkpoint"), actions);
      Order order;
      order.mutable_save_checkpoint()->set_generation(record_.generation());
      for (const Gang& gang : gangs_) Send(gang.status.gang(), order, actions);
      return absl::StrCat("saving a checkpoint after step ", after);
    }
    case Verb::kStop:
      if (has_ended() || now_state == DONE) return Refuse("cannot stop: ", is);
      if (record_.is_open()) Record(OperatorEntry(who, "stop"), actions);
      if (gangs_.empty()) is_stopped_ = true;
      for (Gang& gang : gangs_) SendStop(&gang, absl::StrCat("stopped by ", who), actions);
      return absl::StrCat("stopping after step ", after);
  }
  return Refuse("an unknown verb");
}

// --- What others see.

JobState JobMachine::state() const {
  if (record_.finished().has_value()) return record_.finished()->state();
  if (!gangs_.empty()) return record_.is_paused() ? PAUSED : RUNNING;
  return record_.is_open() ? WAITING : PENDING;
}

bool JobMachine::has_ended() const {
  const JobState now_state = state();
  return gangs_.empty() && (is_stopped_ || now_state == DONE || now_state == FAILED);
}

JobStatus JobMachine::status() const {
  JobStatus status = record_.Status();
  status.set_state(state());
  status.set_job(options_.job.job());
  status.set_output(options_.job.output());
  status.set_epochs(options_.job.training().epochs());
  for (const Gang& gang : gangs_) *status.add_gangs() = gang.status;
  status.set_eta_seconds(step_seconds_ * static_cast<double>(status.num_steps() - status.step()));
  return status;
}

}  // namespace liquid
