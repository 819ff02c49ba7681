#include "cli/supervisor.h"

#include <signal.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/file.h"
#include "base/host_address.h"
#include "base/status.h"
#include "cli/child_process.h"
#include "cli/job_target.h"
#include "cli/signal_inbox.h"
#include "cli/status_display.h"

namespace liquid {
namespace {

constexpr absl::Duration kTick = absl::Milliseconds(100);
constexpr absl::Duration kStatusInterval = absl::Milliseconds(500);
constexpr absl::Duration kRepeat = absl::Seconds(1);  // of the first signal, as in launch.cc
// How long the gangs may take to end once the coordinator has, and it once they have: they may be
// in the middle of something, it only has to take note.
constexpr absl::Duration kGangsFarewell = absl::Seconds(15);
constexpr absl::Duration kCoordinatorFarewell = absl::Seconds(3);
constexpr absl::Duration kInsist = absl::Seconds(5);  // between SIGTERM and SIGKILL

// One program that is kept running.
struct Process {
  Process(std::string called, std::string writes_to, const RestartOptions& restarts)
      : name(std::move(called)), log(std::move(writes_to)), schedule(restarts) {}

  std::string name;
  std::string log;
  RestartSchedule schedule;
  pid_t pid = 0;  // 0: does not run
  absl::Time started;
  std::optional<absl::Time> next_start = absl::Now();  // none: it is not to be started (again)
  std::optional<int> code;                             // of its last end
};

// The last line that a program wrote; of an error in our log, what it says.
std::string LastWords(const std::string& log) {
  const absl::StatusOr<std::string> text = ReadFile(log);
  if (!text.ok()) return "";
  std::string trimmed = *text;
  absl::StripTrailingAsciiWhitespace(&trimmed);
  const std::string line = trimmed.substr(trimmed.find_last_of('\n') + 1);
  const size_t error = line.find(" E ");
  return error == std::string::npos ? line : line.substr(error + 3);
}

class Supervisor {
 public:
  explicit Supervisor(const Supervision& supervision)
      : supervision_(supervision),
        coordinator_("the coordinator", CoordinatorLogPath(supervision.output),
                     supervision.restarts) {
    for (int gang = 1; gang <= supervision.num_gangs; ++gang) {
      gangs_.emplace_back(absl::StrCat("gang ", gang), GangLogPath(supervision.output, gang),
                          supervision.restarts);
    }
  }

  absl::StatusOr<ExitCode> Run() {
    while (!IsOver()) {
      TakeSignal(inbox_.Next(kTick));
      LIQUID_RETURN_IF_ERROR(Reap());
      LIQUID_RETURN_IF_ERROR(StartDue());
      LearnAddress();
      ShowStatus();
      HurryUp();
    }
    ShowEnd();
    return Verdict();
  }

 private:
  bool AnyGangIsLeft() const {
    return std::any_of(gangs_.begin(), gangs_.end(), [](const Process& gang) {
      return gang.pid != 0 || gang.next_start.has_value();
    });
  }
  bool CoordinatorIsLeft() const {
    return coordinator_.pid != 0 || coordinator_.next_start.has_value();
  }
  bool IsOver() const { return !AnyGangIsLeft() && !CoordinatorIsLeft(); }

  void SignalGangs(int number) {
    for (const Process& gang : gangs_) {
      if (gang.pid != 0) kill(gang.pid, number);
    }
  }

  void TakeSignal(int number) {
    const absl::Time now = absl::Now();
    if (number == 0 || number == SIGCHLD) {
      // mpirun drops a SIGUSR1 that comes before its ranks are up.
      if (num_signals_ != 1 || now - last_signal_ < kRepeat) return;
      last_signal_ = now;
      SignalGangs(SIGUSR1);
      return;
    }
    last_signal_ = now;
    ++num_signals_;
    for (Process& gang : gangs_) gang.next_start.reset();
    SignalGangs(num_signals_ == 1 ? SIGUSR1 : SIGTERM);
    display_.Say(num_signals_ == 1 ? "asked to end: the gangs save and leave; once more: at once"
                                   : "asked to end at once");
  }

  absl::Status Reap() {
    for (Process& gang : gangs_) {
      if (!HasEnded(gang)) continue;
      const bool good = IsGangGoneForGood(*gang.code) || num_signals_ > 0 || !CoordinatorIsLeft();
      PlanRestart(gang, good);
    }
    if (HasEnded(coordinator_)) {
      PlanRestart(coordinator_, IsCoordinatorGoneForGood(*coordinator_.code) || !AnyGangIsLeft());
      if (!coordinator_.next_start.has_value()) {
        for (Process& gang : gangs_) gang.next_start.reset();
      }
    }
    if (one_side_ended_ == absl::InfiniteFuture() && AnyGangIsLeft() != CoordinatorIsLeft()) {
      one_side_ended_ = absl::Now();
    }
    return absl::OkStatus();
  }

  static bool HasEnded(Process& process) {
    if (process.pid == 0) return false;
    const std::optional<int> code = ReapChild(process.pid);
    if (!code.has_value()) return false;
    process.code = code;
    process.pid = 0;
    return true;
  }

  void PlanRestart(Process& process, bool is_gone_for_good) {
    process.next_start.reset();
    if (is_gone_for_good) {
      const bool was_asked =
          num_signals_ > 0 && *process.code == static_cast<int>(ExitCode::kPreempted);
      if (*process.code != 0 && !was_asked) Tell(process, "");
      return;
    }
    const absl::Time now = absl::Now();
    const auto delay = process.schedule.AfterEnd(now - process.started);
    if (!delay.has_value()) {
      Tell(process, "; too often: it is not started again");
      return;
    }
    process.next_start = now + *delay;
    Tell(process, absl::StrCat("; starts again in ", absl::FormatDuration(*delay), " (",
                               process.schedule.num_restarts(), " of ",
                               supervision_.restarts.max_restarts, ")"));
  }

  void Tell(const Process& process, const std::string& what) {
    display_.Say(absl::StrCat(process.name, " ended with code ", *process.code, what, "; see ",
                              process.log));
  }

  absl::Status StartDue() {
    const absl::Time now = absl::Now();
    if (coordinator_.pid == 0 && coordinator_.next_start.has_value() &&
        *coordinator_.next_start <= now) {
      CoordinatorCommand command = supervision_.coordinator;
      if (!listen_.empty()) command.listen = listen_;
      LIQUID_RETURN_IF_ERROR(StartNow(coordinator_, CoordinatorCommandLine(command)));
    }
    if (address_.empty()) return absl::OkStatus();
    for (Process& gang : gangs_) {
      if (gang.pid != 0 || !gang.next_start.has_value() || *gang.next_start > now) continue;
      Launch launch = supervision_.gang;
      launch.worker_arguments.insert(launch.worker_arguments.begin(), {"--coordinator", address_});
      LIQUID_RETURN_IF_ERROR(StartNow(gang, MpirunCommand(launch)));
    }
    return absl::OkStatus();
  }

  static absl::Status StartNow(Process& process, const std::vector<std::string>& command) {
    LIQUID_ASSIGN_OR_RETURN(process.pid, StartChild(command, process.log));
    process.started = absl::Now();
    process.next_start.reset();
    return absl::OkStatus();
  }

  // Of the first coordinator; the later ones are told to take it over.
  void LearnAddress() {
    if (!address_.empty() || coordinator_.pid == 0) return;
    const absl::StatusOr<CoordinatorPlace> place = ReadCoordinatorPlace(supervision_.output);
    if (!place.ok() || place->pid != coordinator_.pid) return;  // of another one, long gone
    address_ = place->address;
    const std::string port = address_.substr(address_.rfind(':'));
    const std::string& asked = supervision_.coordinator.listen;
    listen_ = IsAnyAddress(HostOf(asked)) ? asked.substr(0, asked.rfind(':')) + port : address_;
    client_ = std::make_unique<ControlClient>(address_, supervision_.control);
    display_.Say(absl::StrCat("coordinator at ", address_, ", logs in ",
                              JoinPath(supervision_.output, "logs")));
  }

  void ShowStatus() {
    const absl::Time now = absl::Now();
    if (client_ == nullptr || coordinator_.pid == 0 || now - last_status_ < kStatusInterval) return;
    last_status_ = now;
    const absl::StatusOr<JobStatus> status = client_->GetStatus();
    if (status.ok()) display_.Show(*status);
  }

  // The end, as the ledger tells it: the coordinator may have gone before it could be asked.
  void ShowEnd() {
    JobTarget target;
    target.output = supervision_.output;
    const absl::StatusOr<JobStatus> status = StatusAtRest(target, absl::NotFoundError(""));
    if (status.ok()) display_.Show(*status);
    display_.Finish();
  }

  // Once one side is gone, the other has nothing left to do.
  void HurryUp() {
    const absl::Duration farewell = CoordinatorIsLeft() ? kCoordinatorFarewell : kGangsFarewell;
    const absl::Duration late = absl::Now() - one_side_ended_ - farewell;
    if (late < absl::ZeroDuration()) return;
    const int number = late < kInsist ? SIGTERM : SIGKILL;
    if (number == last_hurry_) return;
    last_hurry_ = number;
    SignalGangs(number);
    if (coordinator_.pid != 0) kill(coordinator_.pid, number);
  }

  absl::StatusOr<ExitCode> Verdict() const {
    const int own = coordinator_.code.value_or(static_cast<int>(ExitCode::kFailure));
    const bool was_ended = own == static_cast<int>(ExitCode::kPreempted) || !IsExitCode(own);
    if (!was_ended) {
      if (own == 0) return ExitCode::kOk;
      return WithExitCode(absl::UnknownError(LastWords(coordinator_.log)),
                          static_cast<ExitCode>(own));
    }
    if (num_signals_ > 0) return ExitCode::kPreempted;
    for (const Process& gang : gangs_) {
      const int code = gang.code.value_or(0);
      if (code == 0) continue;
      return WithExitCode(
          absl::UnavailableError(absl::StrCat(gang.name, ": ", LastWords(gang.log))),
          IsExitCode(code) ? static_cast<ExitCode>(code) : ExitCode::kPeerLost);
    }
    return WithExitCode(absl::UnavailableError("no gang is left, and the job is not done"),
                        ExitCode::kPeerLost);
  }

  const Supervision& supervision_;
  SignalInbox inbox_;  // before gRPC has threads
  StatusDisplay display_{/*json=*/false};
  Process coordinator_;
  std::vector<Process> gangs_;
  std::string address_;  // that gangs dial; empty: not known yet
  std::string listen_;   // for coordinators after the first
  std::unique_ptr<ControlClient> client_;
  absl::Time last_status_ = absl::InfinitePast();
  int num_signals_ = 0;
  absl::Time last_signal_ = absl::InfinitePast();
  absl::Time one_side_ended_ = absl::InfiniteFuture();
  int last_hurry_ = 0;
};

}  // namespace

std::string CoordinatorLogPath(const std::string& output) {
  return JoinPath(output, "logs/coordinator.log");
}

std::string GangLogPath(const std::string& output, int gang) {
  return JoinPath(output, absl::StrCat("logs/gang-", gang, ".log"));
}

absl::StatusOr<ExitCode> Supervise(const Supervision& supervision) {
  LIQUID_RETURN_IF_ERROR(MakeDirectories(JoinPath(supervision.output, "logs")));
  return Supervisor(supervision).Run();
}

}  // namespace liquid
