#include "coordinator/job_machine.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status.h"
#include "coordinator/admission.h"
#include "coordinator/refuse.h"
#include "proto/job_loader.h"

namespace liquid {
namespace {

absl::Duration HeartbeatTimeout(const Job& job) {
  return absl::Seconds(job.coordinator().heartbeat_timeout_seconds());
}

}  // namespace

JobMachine::JobMachine(Options options, JobRecord record)
    : options_(std::move(options)),
      job_digest_(JobDigest(options_.job)),
      record_(std::move(record)),
      last_gang_(record_.last_gang()) {}

void JobMachine::Start(absl::Time now, Actions* actions) {
  last_checkpoint_time_ = now;
  leased_step_ = record_.committed_step();
  if (record_.finished().has_value() || record_.gangs().empty()) return;
  if (!options_.expects_gangs_back) {
    return ChangeGeneration("the coordinator was started again", actions);
  }
  phase_ = Phase::kGrace;
  if (record_.stop_ordered_by().has_value()) {
    is_stopped_ = true;
    stop_reason_ = absl::StrCat("stopped by ", *record_.stop_ordered_by());
  }
  grace_end_ = now + HeartbeatTimeout(options_.job);
  for (const GangStatus& gang : record_.gangs()) {
    Member& member = gangs_[gang.gang()];
    member.status = gang;
    member.status.set_phase(GangStatus::SILENT);
    member.is_here = false;
    member.is_leaving = record_.was_drained(gang.gang());
  }
}

void JobMachine::Record(LedgerEntry entry, Actions* actions) {
  const absl::Status status = record_.Apply(entry);
  LIQUID_CHECK(status.ok(), status.ToString());
  if (!entry.has_lease() && !entry.has_steal()) ++version_;
  actions->push_back({.kind = Action::Kind::kAppend, .entry = std::move(entry)});
}

Member* JobMachine::Find(int64_t gang) {
  const auto found = gangs_.find(gang);
  return found == gangs_.end() ? nullptr : &found->second;
}

void JobMachine::Send(int64_t gang, Order order, Actions* actions) const {
  Send(gang, std::make_shared<const Order>(std::move(order)), actions);
}

void JobMachine::Send(int64_t gang, SharedOrder order, Actions* actions) const {
  actions->push_back({.kind = Action::Kind::kSend, .gang = gang, .order = std::move(order)});
}

void JobMachine::Close(int64_t gang, const absl::Status& status, Actions* actions) {
  actions->push_back({.kind = Action::Kind::kClose, .gang = gang, .status = status});
}

void JobMachine::Violate(int64_t gang, const std::string& why, absl::Time now, Actions* actions) {
  Close(gang, Refuse(why), actions);
  Remove({{gang, why}}, now, actions);
}

// --- Joining.

absl::Status JobMachine::CheckAdmission(const Join& join) const {
  LIQUID_RETURN_IF_ERROR(
      CheckJoin(options_.job, job_digest_, record_, join, /*is_first=*/NobodyIsHere()));
  if (record_.finished().has_value()) return absl::OkStatus();
  for (const auto& [number, member] : gangs_) {
    if ((!member.is_member && !member.is_waiting) || number == join.gang()) continue;
    if (!stop_reason_.empty() && join.gang() == 0) {
      return Refuse("the job is being stopped; join when it has started again");
    }
    if (member.status.num_ranks() != join.num_ranks()) {
      return Refuse("the number of ranks differs: ", DescribeGang(member.status), " has ",
                    member.status.num_ranks(), ", the gang has ", join.num_ranks());
    }
    break;
  }
  return absl::OkStatus();
}

bool JobMachine::NobodyIsHere() const {
  return std::none_of(gangs_.begin(), gangs_.end(),
                      [](const auto& item) { return item.second.is_here; });
}

Member JobMachine::MakeMember(const Join& join, int64_t number, absl::Time now) const {
  Member member;
  member.status.set_gang(number);
  member.status.set_name(join.name());
  member.status.set_host(join.host());
  member.status.set_num_ranks(join.num_ranks());
  member.status.set_applied_step(join.applied_step());
  member.status.set_phase(GangStatus::JOINING);
  member.data_addresses.assign(join.data_addresses().begin(), join.data_addresses().end());
  member.last_heard = now;
  member.was_heard_since = true;
  return member;
}

absl::StatusOr<int64_t> JobMachine::OnJoin(const Join& join, absl::Time now, Actions* actions) {
  LIQUID_RETURN_IF_ERROR(CheckAdmission(join));
  if (gangs_.empty()) {
    is_stopped_ = false;
    stop_reason_.clear();
    last_checkpoint_time_ = now;
  }
  if (!record_.is_open()) {
    Record(OpeningEntry(options_.job, job_digest_, join), actions);
  } else if (LayoutDiffers(options_.job, record_)) {
    Record(LayoutEntry(options_.job, join), actions);
  }

  const bool was_here_before = join.gang() > 0 && join.gang() <= last_gang_;
  const int64_t number = was_here_before ? join.gang() : ++last_gang_;
  Member* old = Find(number);
  const bool is_replaced = old != nullptr && old->is_here;
  Member member = MakeMember(join, number, now);
  if (old != nullptr) {
    member.status.set_slots_per_second(old->status.slots_per_second());
    member.is_rate_guessed = old->is_rate_guessed;
  }
  member.is_leaving = record_.was_drained(number);
  Forget(number);
  const std::string reason =
      absl::StrCat(DescribeGang(member.status), was_here_before ? " came back" : " joined");
  const bool was_done = IsDone();
  // Gangs that come together join together.
  member.is_waiting = !was_done && !is_replaced && phase_ == Phase::kRegrouping;
  member.is_member = !was_done && !member.is_waiting;
  gangs_[number] = std::move(member);
  ++version_;
  const bool is_later = Find(number)->is_waiting || phase_ == Phase::kGrace;
  if (is_later && !was_here_before) RecordAdmission(Find(number)->status, actions);
  SendWelcome(number, actions);
  if (Find(number)->is_waiting) return number;
  if (was_done) {
    SendStop(Find(number), "the job is done", /*save=*/false, actions);
  } else if (phase_ == Phase::kGrace) {
    EndGrace(now, actions);
  } else {
    BeginRegroup(reason, is_replaced ? -1 : leased_step_, now, actions);
  }
  return number;
}

// Its number is taken, before any generation has it.
void JobMachine::RecordAdmission(const GangStatus& gang, Actions* actions) {
  LedgerEntry entry;
  entry.mutable_gang_admitted()->set_gang(gang.gang());
  entry.mutable_gang_admitted()->set_name(gang.name());
  entry.mutable_gang_admitted()->set_host(gang.host());
  Record(std::move(entry), actions);
}

void JobMachine::SendWelcome(int64_t gang, Actions* actions) const {
  Order order;
  order.mutable_welcome()->set_generation(record_.generation());
  order.mutable_welcome()->set_gang(gang);
  order.mutable_welcome()->set_num_steps(record_.opened().num_steps());
  Send(gang, std::move(order), actions);
}

// --- Time and messages.

void JobMachine::OnTick(absl::Time now, Actions* actions) {
  const absl::Duration timeout = HeartbeatTimeout(options_.job);
  Departures silent;
  for (const auto& [number, member] : gangs_) {
    if (!member.is_here) continue;
    const bool ignores_regroup = phase_ == Phase::kRegrouping && regroup_after_ < 0 &&
                                 member.is_member && !member.was_heard_since &&
                                 now - member.regroup_sent > timeout / 4;
    if (now - member.last_heard <= timeout && !ignores_regroup) continue;
    const std::string why =
        absl::StrCat(ignores_regroup ? "it did not answer a regroup, " : "", "no heartbeat for ",
                     absl::FormatDuration(now - member.last_heard));
    Close(number, absl::DeadlineExceededError(why), actions);
    silent.emplace_back(number, why);
  }
  if (!silent.empty()) Remove(silent, now, actions);
  if (phase_ == Phase::kGrace && now >= grace_end_) EndGrace(now, actions);
  if (retry_at_.has_value() && now >= *retry_at_) {
    BeginRegroup("the exchange between gangs failed again", -1, now, actions);
  }
  StealForIdle(now, actions);
  GoOnWithoutTheStuck(now, actions);
}

void JobMachine::OnMessage(int64_t gang, const GangMessage& message, absl::Time now,
                           Actions* actions) {
  Member* member = Find(gang);
  if (member == nullptr || !member->is_here) return;
  member->last_heard = now;
  member->was_heard_since = true;
  switch (message.message_case()) {
    case GangMessage::kStep:
      return OnStep(gang, message.step(), now, actions);
    case GangMessage::kCheckpoint:
      return OnCheckpoint(gang, message.checkpoint(), now, actions);
    case GangMessage::kEval:
      return OnEval(gang, message.eval(), now, actions);
    case GangMessage::kHeartbeat:
      return;
    case GangMessage::kLeave:
      return OnLeave(gang, message.leave(), now, actions);
    case GangMessage::kReady:
      return OnReady(gang, message.ready(), now, actions);
    case GangMessage::kTrouble:
      return OnTrouble(*member, message.trouble(), now, actions);
    case GangMessage::kProgress:
      return OnProgress(gang, message.progress(), now, actions);
    case GangMessage::kReleased:
      return OnReleased(gang, message.released(), now, actions);
    case GangMessage::kAuditResult:
      return OnAuditResult(gang, message.audit_result(), now, actions);
    case GangMessage::kLeaveRequest:
      return OnLeaveRequest(gang, now, actions);
    case GangMessage::kJoin:
    case GangMessage::MESSAGE_NOT_SET:
      break;
  }
  Violate(gang, "a message that has no place here", now, actions);
}

// --- What others see.

JobState JobMachine::state() const {
  if (record_.finished().has_value()) return record_.finished()->state();
  for (const auto& [number, member] : gangs_) {
    if (member.is_here && member.is_member) return record_.is_paused() ? PAUSED : RUNNING;
  }
  return record_.is_open() ? WAITING : PENDING;
}

bool JobMachine::has_ended() const {
  return gangs_.empty() && (is_stopped_ || record_.finished().has_value());
}

JobStatus JobMachine::status() const {
  JobStatus status = record_.Status();
  status.set_state(state());
  status.set_job(options_.job.job());
  status.set_output(options_.job.output());
  status.set_epochs(options_.job.training().epochs());
  for (const auto& [number, member] : gangs_) {
    GangStatus& gang = *status.add_gangs();
    gang = member.status;
    const GangStatus* recorded = record_.FindGang(number);
    if (recorded != nullptr) gang.set_slots_done(recorded->slots_done());
  }
  status.set_eta_seconds(step_seconds_ * static_cast<double>(status.num_steps() - status.step()));
  return status;
}

}  // namespace liquid
