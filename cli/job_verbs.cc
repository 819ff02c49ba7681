// status, watch, gangs, pause, resume, checkpoint, stop, drain: what people ask of a job that may
// be running.
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "cli/control_client.h"
#include "cli/gangs_text.h"
#include "cli/job_target.h"
#include "cli/status_display.h"
#include "cli/status_text.h"
#include "cli/terminal.h"
#include "cli/verbs.h"

namespace liquid {
namespace {

struct JobFlags {
  JobTarget target;
  int64_t gang = 0;  // drain
  bool json = false;
};

// Asks the coordinator, wherever it is.
template <typename Answer>
absl::StatusOr<Answer> Ask(const JobFlags& flags,
                           absl::StatusOr<Answer> (*ask)(ControlClient&, const JobFlags&)) {
  LIQUID_ASSIGN_OR_RETURN(const std::string address, FindAddress(flags.target));
  LIQUID_ASSIGN_OR_RETURN(const ControlOptions options, ControlOptionsOf(flags.target));
  ControlClient client(address, options);
  return ask(client, flags);
}

absl::StatusOr<JobStatus> FindStatus(const JobFlags& flags) {
  absl::StatusOr<JobStatus> status = Ask<JobStatus>(
      flags, [](ControlClient& client, const JobFlags&) { return client.GetStatus(); });
  if (!status.ok()) return StatusAtRest(flags.target, status.status());
  return status;
}

absl::StatusOr<ExitCode> ShowStatus(const JobFlags& flags) {
  LIQUID_ASSIGN_OR_RETURN(const JobStatus status, FindStatus(flags));
  PrintLine(flags.json ? ToJsonLine(StatusToJson(status)) : StatusText(status));
  return ExitCode::kOk;
}

absl::StatusOr<ExitCode> ShowGangs(const JobFlags& flags) {
  LIQUID_ASSIGN_OR_RETURN(const JobStatus status, FindStatus(flags));
  PrintLine(flags.json ? ToJsonLine(GangsToJson(status)) : GangsText(status));
  return ExitCode::kOk;
}

absl::Status Follow(const JobFlags& flags, StatusDisplay& display) {
  LIQUID_ASSIGN_OR_RETURN(const std::string address, FindAddress(flags.target));
  LIQUID_ASSIGN_OR_RETURN(const ControlOptions options, ControlOptionsOf(flags.target));
  return ControlClient(address, options).Watch([&display](const JobStatus& status) {
    return display.Show(status);
  });
}

absl::StatusOr<ExitCode> Watch(const JobFlags& flags) {
  StatusDisplay display(flags.json);
  absl::Status end = Follow(flags, display);
  if (!end.ok()) {  // nobody serves it, or not any more: how it was left
    absl::StatusOr<JobStatus> status = StatusAtRest(flags.target, end);
    if (status.ok()) display.Show(*status);
    end = status.status();
  }
  display.Finish();
  LIQUID_RETURN_IF_ERROR(end);
  return ExitCode::kOk;
}

using Request = absl::StatusOr<std::string> (*)(ControlClient&, const JobFlags&);

absl::StatusOr<ExitCode> Act(const JobFlags& flags, Request request) {
  const absl::StatusOr<std::string> reply = Ask<std::string>(flags, request);
  if (!reply.ok()) {
    LIQUID_ASSIGN_OR_RETURN(const JobStatus status, StatusAtRest(flags.target, reply.status()));
    return absl::FailedPreconditionError(absl::StrCat(
        flags.target.output, ": nobody trains there now (state ", StateName(status.state()), ")"));
  }
  PrintLine(flags.json ? ToJsonLine({{"message", *reply}}) : *reply);
  return ExitCode::kOk;
}

template <ControlAction action>
absl::StatusOr<ExitCode> Steer(const JobFlags& flags) {
  return Act(flags, [](ControlClient& client, const JobFlags&) { return client.Do(action); });
}

absl::StatusOr<ExitCode> Drain(const JobFlags& flags) {
  return Act(flags,
             [](ControlClient& client, const JobFlags& given) -> absl::StatusOr<std::string> {
               absl::StatusOr<std::string> reply = client.Drain(given.gang);
               // No such gang; not: no such job.
               if (absl::IsNotFound(reply.status())) {
                 return absl::InvalidArgumentError(reply.status().message());
               }
               return reply;
             });
}

}  // namespace

std::vector<Verb> AddJobVerbs(CLI::App& liquid) {
  std::vector<Verb> verbs;
  const auto add = [&](const char* name, const char* what,
                       absl::StatusOr<ExitCode> (*run)(const JobFlags&)) {
    auto flags = std::make_shared<JobFlags>();
    CLI::App* app = liquid.add_subcommand(name, what);
    if (run == Drain) {
      app->add_option("GANG", flags->gang, "its number, as `liquid gangs` shows it")
          ->required()
          ->check(CLI::Range(int64_t{1}, int64_t{1} << 60));
    }
    AddJobTarget(*app, flags->target);
    app->add_flag("--json", flags->json, "answer in JSON");
    verbs.push_back({app, [flags, run] { return run(*flags); }});
  };
  add("status", "Tells how far a job is.", ShowStatus);
  add("watch", "Follows a job until it ends.", Watch);
  add("gangs", "Shows who works on a job, and how fast.", ShowGangs);
  add("pause", "Lets a job rest after the step that it is in.", Steer<ControlAction::kPause>);
  add("resume", "Lets a paused job go on.", Steer<ControlAction::kResume>);
  add("checkpoint", "Saves a checkpoint after the step that the job is in.",
      Steer<ControlAction::kCheckpoint>);
  add("stop", "Saves a checkpoint and ends the job; `liquid train` goes on from there.",
      Steer<ControlAction::kStop>);
  add("drain", "Lets one gang finish its step and leave; the others go on.", Drain);
  return verbs;
}

}  // namespace liquid
