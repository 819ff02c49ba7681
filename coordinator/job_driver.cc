#include "coordinator/job_driver.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/exit_code.h"
#include "base/file.h"
#include "base/log.h"
#include "base/random.h"
#include "base/status.h"
#include "proto/job_loader.h"

namespace liquid {
namespace {

// What people who look at the log want to know of an entry; empty: nothing.
std::string LogText(const LedgerEntry& entry) {
  switch (entry.entry_case()) {
    case LedgerEntry::kGeneration:
      return absl::StrCat("generation ", entry.generation().generation(), ": ",
                          entry.generation().reason());
    case LedgerEntry::kVoided:
      return absl::StrCat("steps ", entry.voided().from_step(), " to ", entry.voided().to_step(),
                          " are done again: ", entry.voided().reason());
    case LedgerEntry::kOperatorAction:
      return absl::StrCat(entry.operator_action().what(), " by ", entry.operator_action().who());
    case LedgerEntry::kWrongAnswer:
      return absl::StrCat("a wrong answer in slot ", entry.wrong_answer().slot(), " of step ",
                          entry.wrong_answer().step());
    case LedgerEntry::kJobFinished:
      return entry.job_finished().state() == DONE
                 ? absl::StrCat("the job is done, fingerprint ", entry.job_finished().fingerprint())
                 : absl::StrCat("the job failed: ", entry.job_finished().error());
    default:
      return "";
  }
}

// Watchers see the job no more often than this for each of its gangs: so much for their number.
constexpr absl::Duration kShowEveryPerGang = absl::Milliseconds(1);
constexpr size_t kGangsShownAtOnce = 16;

}  // namespace

JobDriver::JobDriver(const Job& job, const Clock& clock)
    : job_(job), job_digest_(JobDigest(job)), clock_(clock), metrics_(job.output()) {}

absl::StatusOr<std::unique_ptr<JobDriver>> JobDriver::Open(const Job& job, const Clock& clock,
                                                           bool keep_pause) {
  std::unique_ptr<JobDriver> driver(new JobDriver(job, clock));
  LIQUID_RETURN_IF_ERROR(driver->OpenLedger(keep_pause));
  driver->ticker_ = std::thread([self = driver.get()] { self->TickUntilStopped(); });
  return driver;
}

JobDriver::~JobDriver() {
  Stop();
  if (ticker_.joinable()) ticker_.join();
}

absl::Status JobDriver::OpenLedger(bool keep_pause) {
  MutexLock lock(mutex_);
  JobRecord record;
  LIQUID_ASSIGN_OR_RETURN(
      ledger_, Ledger::Open(job_.output(), clock_,
                            [&record](const LedgerEntry& entry) { return record.Apply(entry); }));
  if (record.is_open()) LIQUID_RETURN_IF_ERROR(CheckSameJob(record.opened()));
  LIQUID_RETURN_IF_ERROR(
      WriteFileAtomically(JoinPath(job_.output(), "job.yaml"), EffectiveYaml(job_)));
  metrics_.Rebuild();
  machine_ = std::make_unique<JobMachine>(
      JobMachine::Options{.job = job_, .random = RandomBits, .expects_gangs_back = keep_pause},
      std::move(record));
  Actions actions;
  // An embedded coordinator ended with its gang, one of its own may come back to its gangs.
  machine_->Start(clock_.Now(), &actions);
  if (machine_->record().is_paused() && keep_pause) {
    LogWarning("the job is paused since before; `liquid resume` lets it go on");
  } else if (machine_->record().is_paused() && !machine_->has_ended()) {
    const auto resumed = machine_->OnVerb(Verb::kResume, "a new start", clock_.Now(), &actions);
    LIQUID_RETURN_IF_ERROR(resumed.status());
  }
  Execute(std::move(actions));
  return broken_;
}

absl::Status JobDriver::CheckSameJob(const JobOpened& opened) const {
  if (opened.job_digest() == job_digest_) return absl::OkStatus();
  const auto before = ParseJob(opened.job_text(), "ledger", {});
  const std::string difference =
      before.ok() ? DescribeDifference(*before, job_) : std::string(before.status().message());
  return absl::InvalidArgumentError(absl::StrCat(
      job_.output(),
      " holds another job: ", difference.empty() ? "of a version with other settings" : difference,
      "; its digest is ", opened.job_digest(), ", this one's ", job_digest_,
      "; use another output, or the job file as it was"));
}

void JobDriver::SetAddress(const std::string& address) {
  MutexLock lock(mutex_);
  address_ = address;
}

absl::StatusOr<int64_t> JobDriver::Join(const liquid::Join& join, GangPeer* peer) {
  MutexLock lock(mutex_);
  if (is_stopped_) return absl::UnavailableError("the coordinator is ending");
  LIQUID_RETURN_IF_ERROR(broken_);
  Actions actions;
  LIQUID_ASSIGN_OR_RETURN(const int64_t gang, machine_->OnJoin(join, clock_.Now(), &actions));
  if (const auto old = peers_.find(gang); old != peers_.end()) {
    old->second->Close(absl::AbortedError("the gang came back over another connection"));
  }
  peers_[gang] = peer;
  Execute(std::move(actions));
  return gang;
}

bool JobDriver::IsPeerOf(int64_t gang, const GangPeer* peer) {
  const auto found = peers_.find(gang);
  return found != peers_.end() && found->second == peer;
}

void JobDriver::OnMessage(int64_t gang, const GangPeer* peer, const GangMessage& message) {
  MutexLock lock(mutex_);
  if (is_stopped_ || !broken_.ok() || !IsPeerOf(gang, peer)) return;
  Actions actions;
  machine_->OnMessage(gang, message, clock_.Now(), &actions);
  Execute(std::move(actions));
}

void JobDriver::Disconnect(int64_t gang, const GangPeer* peer) {
  MutexLock lock(mutex_);
  if (!IsPeerOf(gang, peer)) return;
  peers_.erase(gang);
  if (is_stopped_ || !broken_.ok()) return;
  Actions actions;
  machine_->OnDisconnected(gang, clock_.Now(), &actions);
  Execute(std::move(actions));
}

absl::StatusOr<std::string> JobDriver::Act(Verb verb, const std::string& who) {
  MutexLock lock(mutex_);
  if (is_stopped_) return absl::UnavailableError("the coordinator is ending");
  LIQUID_RETURN_IF_ERROR(broken_);
  Actions actions;
  auto answer = machine_->OnVerb(verb, who.empty() ? "somebody" : who, clock_.Now(), &actions);
  Execute(std::move(actions));
  LIQUID_RETURN_IF_ERROR(broken_);
  return answer;
}

absl::StatusOr<std::string> JobDriver::Drain(int64_t gang, const std::string& who) {
  MutexLock lock(mutex_);
  if (is_stopped_) return absl::UnavailableError("the coordinator is ending");
  LIQUID_RETURN_IF_ERROR(broken_);
  Actions actions;
  auto answer = machine_->OnDrain(gang, who.empty() ? "somebody" : who, clock_.Now(), &actions);
  Execute(std::move(actions));
  LIQUID_RETURN_IF_ERROR(broken_);
  return answer;
}

void JobDriver::TickUntilStopped() {
  const absl::Duration timeout = absl::Seconds(job_.coordinator().heartbeat_timeout_seconds());
  const absl::Duration pause = std::clamp(timeout / 10, absl::Milliseconds(10), absl::Seconds(1));
  MutexLock lock(mutex_);
  while (!is_stopped_) {
    changed_.WaitFor(mutex_, pause);
    if (is_stopped_ || !broken_.ok()) continue;
    Actions actions;
    machine_->OnTick(clock_.Now(), &actions);
    Execute(std::move(actions));
  }
}

void JobDriver::Execute(Actions actions) {
  if (!AppendToLedger(actions)) return;
  for (Action& action : actions) {
    switch (action.kind) {
      case Action::Kind::kAppend:
        if (const std::string text = LogText(action.entry); !text.empty()) LogInfo(text);
        if (action.entry.has_voided()) metrics_.Rebuild();
        break;
      case Action::Kind::kSend:
        if (action.order->has_welcome()) {
          Order welcome = *action.order;
          welcome.mutable_welcome()->set_ledger_head(ledger_->head());
          action.order = std::make_shared<const Order>(std::move(welcome));
        }
        if (const auto peer = peers_.find(action.gang); peer != peers_.end()) {
          peer->second->Send(action.order);
        }
        break;
      case Action::Kind::kClose:
        CloseGang(action.gang, action.status);
        break;
      case Action::Kind::kWarn:
        LogWarning(action.text);
        break;
    }
  }
  ShowChange();
}

// All entries in one transaction: one flush to disk for each event.
bool JobDriver::AppendToLedger(const Actions& actions) {
  std::vector<LedgerEntry> entries;
  for (const Action& action : actions) {
    if (action.kind == Action::Kind::kAppend) entries.push_back(action.entry);
  }
  if (entries.empty()) return true;
  if (const absl::Status status = ledger_->Append(absl::MakeSpan(entries)); !status.ok()) {
    Break(status);
    return false;
  }
  for (const LedgerEntry& entry : entries) {
    metrics_.Append(entry, machine_->record().stream());
    if (entry.has_job_finished() && entry.job_finished().state() == FAILED) {
      failure_ = absl::UnknownError(entry.job_finished().error());
      const auto exit_code = static_cast<ExitCode>(entry.job_finished().exit_code());
      if (exit_code != ExitCode::kOk) failure_ = WithExitCode(failure_, exit_code);
    } else if (entry.has_generation() && entry.generation().gangs_size() > 0) {
      failure_ = absl::OkStatus();
    }
  }
  return true;
}

// What the machine knows is not on disk: nobody may act on it. The next start goes on from there.
void JobDriver::Break(const absl::Status& status) {
  LogError(status.message());
  broken_ = status;
  failure_ = status;
  while (!peers_.empty()) CloseGang(peers_.begin()->first, status);
  ShowChange();
}

void JobDriver::CloseGang(int64_t gang, const absl::Status& status) {
  const auto found = peers_.find(gang);
  if (found == peers_.end()) return;
  GangPeer* peer = found->second;
  peers_.erase(found);
  peer->Close(status);
}

void JobDriver::ShowChange() {
  const bool is_last = HasEndedNow() || is_stopped_;
  end_was_shown_ = end_was_shown_ && is_last;
  if (is_last ? end_was_shown_ : machine_->version() == shown_version_) return;
  const absl::Time now = clock_.Now();
  const size_t num_gangs = peers_.size();
  if (!is_last && num_gangs > kGangsShownAtOnce &&
      now - shown_at_ < kShowEveryPerGang * num_gangs) {
    return;  // the next event or tick shows it
  }
  shown_version_ = machine_->version();
  shown_at_ = now;
  end_was_shown_ = is_last;
  if (!watchers_.empty()) {
    const JobStatus status = StatusNow();
    for (Watcher* watcher : watchers_) watcher->Show(status, is_last);
  }
  if (is_last) {
    watchers_.clear();
    changed_.SignalAll();
  }
}

JobStatus JobDriver::StatusNow() {
  JobStatus status = machine_->status();
  status.set_coordinator(address_);
  if (!broken_.ok()) {
    status.set_state(FAILED);
    status.set_error(std::string(broken_.message()));
  }
  return status;
}

bool JobDriver::HasEndedNow() { return !broken_.ok() || machine_->has_ended(); }

JobStatus JobDriver::GetStatus() {
  MutexLock lock(mutex_);
  return StatusNow();
}

void JobDriver::Watch(Watcher* watcher) {
  MutexLock lock(mutex_);
  const bool is_last = is_stopped_ || HasEndedNow();
  if (!is_last) watchers_.insert(watcher);
  watcher->Show(StatusNow(), is_last);
}

void JobDriver::Unwatch(Watcher* watcher) {
  MutexLock lock(mutex_);
  watchers_.erase(watcher);
}

bool JobDriver::HasEnded() {
  MutexLock lock(mutex_);
  return is_stopped_ || HasEndedNow();
}

JobState JobDriver::WaitUntilEnded() {
  MutexLock lock(mutex_);
  while (!is_stopped_ && !HasEndedNow()) changed_.Wait(mutex_);
  return StatusNow().state();
}

absl::Status JobDriver::Failure() {
  MutexLock lock(mutex_);
  return StatusNow().state() == FAILED ? failure_ : absl::OkStatus();
}

void JobDriver::Stop() {
  MutexLock lock(mutex_);
  if (is_stopped_) return;
  is_stopped_ = true;
  changed_.SignalAll();
  if (machine_ == nullptr) return;  // it never opened
  while (!peers_.empty()) {
    CloseGang(peers_.begin()->first, absl::UnavailableError("the coordinator is ending"));
  }
  ShowChange();
  ledger_ = nullptr;  // another coordinator may go on from here
}

}  // namespace liquid
