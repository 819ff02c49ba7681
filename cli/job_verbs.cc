// status, watch, pause, resume, checkpoint, stop: what people ask of a job that may be running.
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/file.h"
#include "base/status.h"
#include "cli/control_client.h"
#include "cli/status_text.h"
#include "cli/terminal.h"
#include "cli/verbs.h"
#include "coordinator/audit.h"

namespace liquid {
namespace {

struct JobFlags {
  std::string output;
  std::string coordinator;
  bool json = false;
};

constexpr absl::Duration kPlainInterval = absl::Milliseconds(500);

absl::StatusOr<std::string> FindAddress(const JobFlags& flags) {
  if (!flags.coordinator.empty()) return flags.coordinator;
  if (flags.output.empty()) {
    return absl::InvalidArgumentError(
        "say which job: its OUTPUT directory, or --coordinator HOST:PORT");
  }
  if (!FileExists(flags.output)) {
    return absl::NotFoundError(absl::StrCat(flags.output, ": there is no such directory"));
  }
  return ReadCoordinatorAddress(flags.output);
}

// The status as the ledger tells it, of a job that nobody serves because of `reason`.
absl::StatusOr<JobStatus> StatusAtRest(const JobFlags& flags, const absl::Status& reason) {
  const bool nobody_serves = absl::IsUnavailable(reason) || absl::IsNotFound(reason);
  if (flags.output.empty() || !nobody_serves || !FileExists(flags.output)) return reason;
  absl::StatusOr<JobStatus> status = ReadJobStatus(flags.output);
  if (absl::IsNotFound(status.status())) {
    return absl::NotFoundError(absl::StrCat(flags.output, ": no job was ever started there"));
  }
  return status;
}

absl::StatusOr<JobStatus> FindStatus(const JobFlags& flags) {
  const absl::StatusOr<std::string> address = FindAddress(flags);
  if (!address.ok()) return StatusAtRest(flags, address.status());
  absl::StatusOr<JobStatus> status = ControlClient(*address).GetStatus();
  if (!status.ok()) return StatusAtRest(flags, status.status());
  return status;
}

absl::StatusOr<ExitCode> ShowStatus(const JobFlags& flags) {
  LIQUID_ASSIGN_OR_RETURN(const JobStatus status, FindStatus(flags));
  PrintLine(flags.json ? ToJsonLine(StatusToJson(status)) : StatusText(status));
  return ExitCode::kOk;
}

// Shows one status after the other, in the way that suits the reader.
class Watcher {
 public:
  explicit Watcher(bool json) : json_(json), live_(!json && IsTerminal(stdout)) {}

  // False if nobody reads any more.
  bool Show(const JobStatus& status) {
    const bool same_state = shown_any_ && status.state() == last_.state();
    last_ = status;
    shown_any_ = true;
    if (json_) return PrintLine(ToJsonLine(StatusToJson(status)));
    if (live_) {
      line_.Show(StatusLine(status));
      return true;
    }
    const absl::Time now = absl::Now();
    const bool is_last = status.step() == status.num_steps();
    if (same_state && !is_last && now - last_shown_ < kPlainInterval) return true;
    last_shown_ = now;
    return PrintLine(StatusLine(status));
  }

  void Finish() { line_.Finish(); }

 private:
  const bool json_;
  const bool live_;
  LiveLine line_;
  bool shown_any_ = false;
  JobStatus last_;
  absl::Time last_shown_ = absl::InfinitePast();
};

absl::StatusOr<ExitCode> Watch(const JobFlags& flags) {
  Watcher watcher(flags.json);
  const absl::StatusOr<std::string> address = FindAddress(flags);
  absl::Status end = address.status();
  if (address.ok()) {
    end = ControlClient(*address).Watch(
        [&watcher](const JobStatus& status) { return watcher.Show(status); });
  }
  if (!end.ok()) {  // nobody serves it, or not any more: how it was left
    absl::StatusOr<JobStatus> status = StatusAtRest(flags, end);
    if (status.ok()) watcher.Show(*status);
    end = status.status();
  }
  watcher.Finish();
  LIQUID_RETURN_IF_ERROR(end);
  return ExitCode::kOk;
}

absl::StatusOr<ExitCode> Act(const JobFlags& flags, ControlAction action) {
  const absl::StatusOr<std::string> address = FindAddress(flags);
  const absl::StatusOr<std::string> reply =
      address.ok() ? ControlClient(*address).Do(action) : address;
  if (!reply.ok()) {
    if (absl::IsFailedPrecondition(reply.status())) return reply.status();
    LIQUID_ASSIGN_OR_RETURN(const JobStatus status, StatusAtRest(flags, reply.status()));
    return absl::FailedPreconditionError(absl::StrCat(
        flags.output, ": nobody trains there now (state ", StateName(status.state()), ")"));
  }
  PrintLine(flags.json ? ToJsonLine({{"message", *reply}}) : *reply);
  return ExitCode::kOk;
}

}  // namespace

std::vector<Verb> AddJobVerbs(CLI::App& liquid) {
  std::vector<Verb> verbs;
  const auto add = [&](const char* name, const char* what,
                       absl::StatusOr<ExitCode> (*run)(const JobFlags&)) {
    auto flags = std::make_shared<JobFlags>();
    CLI::App* app = liquid.add_subcommand(name, what);
    auto* output = app->add_option("OUTPUT", flags->output, "the job's output directory");
    app->add_option("--coordinator", flags->coordinator, "HOST:PORT to ask instead")
        ->excludes(output);
    app->add_flag("--json", flags->json, "answer in JSON");
    verbs.push_back({app, [flags, run] { return run(*flags); }});
  };
  add("status", "Tells how far a job is.", ShowStatus);
  add("watch", "Follows a job until it ends.", Watch);
  add("pause", "Lets a job rest after the step that it is in.",
      [](const JobFlags& flags) { return Act(flags, ControlAction::kPause); });
  add("resume", "Lets a paused job go on.",
      [](const JobFlags& flags) { return Act(flags, ControlAction::kResume); });
  add("checkpoint", "Saves a checkpoint after the step that the job is in.",
      [](const JobFlags& flags) { return Act(flags, ControlAction::kCheckpoint); });
  add("stop", "Saves a checkpoint and ends the job; `liquid train` goes on from there.",
      [](const JobFlags& flags) { return Act(flags, ControlAction::kStop); });
  return verbs;
}

}  // namespace liquid
