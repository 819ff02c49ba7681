#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "cli/job_check.h"
#include "cli/job_target.h"
#include "cli/launch.h"
#include "cli/terminal.h"
#include "cli/verbs.h"
#include "proto/access_token.h"
#include "proto/job_loader.h"

namespace liquid {
namespace {

struct TrainFlags {
  std::string file;
  int num_ranks = 1;
  std::vector<std::string> overrides;
  std::string token_file;
  std::string progress;
  int64_t max_steps = 0;
  bool dry_run = false;
};

// What to type to go on where this run ends.
std::string SameCommand(const TrainFlags& flags) {
  std::vector<std::string> command = {"liquid", "train", flags.file};
  if (flags.num_ranks != 1) {
    command.insert(command.end(), {"-n", absl::StrCat(flags.num_ranks)});
  }
  for (const std::string& override : flags.overrides) {
    command.insert(command.end(), {"--set", override});
  }
  if (!flags.token_file.empty()) {
    command.insert(command.end(), {"--token-file", flags.token_file});
  }
  return Quoted(command);
}

absl::StatusOr<Launch> LaunchOf(const TrainFlags& flags) {
  Launch launch;
  LIQUID_ASSIGN_OR_RETURN(launch.worker, FindProgram("liquid-worker"));
  launch.num_ranks = flags.num_ranks;
  launch.worker_arguments = {"--config", flags.file};
  for (const std::string& override : flags.overrides) {
    launch.worker_arguments.insert(launch.worker_arguments.end(), {"--set", override});
  }
  if (!flags.token_file.empty()) {
    launch.worker_arguments.insert(launch.worker_arguments.end(),
                                   {"--token-file", flags.token_file});
  }
  std::string progress = flags.progress;
  if (progress.empty()) progress = IsTerminal(stdout) ? "live" : "plain";
  launch.worker_arguments.insert(launch.worker_arguments.end(), {"--progress", progress});
  if (flags.max_steps > 0) {
    launch.worker_arguments.insert(launch.worker_arguments.end(),
                                   {"--max-steps", absl::StrCat(flags.max_steps)});
  }
  return launch;
}

absl::StatusOr<ExitCode> Train(const TrainFlags& flags) {
  // The ranks check all of it too; but here a mistake costs no start of mpirun.
  LIQUID_ASSIGN_OR_RETURN(const Job job, LoadJob(flags.file, flags.overrides));
  LIQUID_RETURN_IF_ERROR(CheckJobInputs(job));
  LIQUID_RETURN_IF_ERROR(ReadAccessToken(flags.token_file).status());
  LIQUID_ASSIGN_OR_RETURN(const Launch launch, LaunchOf(flags));
  const std::vector<std::string> command = MpirunCommand(launch);
  if (flags.dry_run) {
    PrintLine(Quoted(command));
    return ExitCode::kOk;
  }
  LIQUID_RETURN_IF_ERROR(CheckOnPath(command[0]));
  LIQUID_ASSIGN_OR_RETURN(const RunResult result, RunForwardingSignals(command));
  // A signal that comes before the ranks can take it ends mpirun, which then has a code of its own.
  const bool preempted = result.code == static_cast<int>(ExitCode::kPreempted) ||
                         (result.num_signals > 0 && !IsExitCode(result.code));
  if (preempted) {
    std::fprintf(stderr, "liquid train: ended before the job was done; to go on: %s\n",
                 SameCommand(flags).c_str());
    return ExitCode::kPreempted;
  }
  if (IsExitCode(result.code)) return static_cast<ExitCode>(result.code);
  return WithExitCode(absl::UnavailableError(absl::StrCat(
                          "a rank was lost (mpirun ended with code ", result.code,
                          "); to go on from the newest checkpoint: ", SameCommand(flags))),
                      ExitCode::kPeerLost);
}

}  // namespace

Verb AddTrainVerb(CLI::App& liquid) {
  auto flags = std::make_shared<TrainFlags>();
  CLI::App* app =
      liquid.add_subcommand("train", "Trains the job of a file, on this machine, with mpirun.");
  app->add_option("FILE", flags->file, "job file")->required();
  app->add_option("-n,--ranks", flags->num_ranks, "how many processes")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  app->add_option("--set", flags->overrides, "job setting that overrides the file's: KEY=VALUE")
      ->allow_extra_args(false);
  app->add_option("--progress", flags->progress,
                  "live, plain or none; default: live in a terminal, else plain")
      ->check(CLI::IsMember({"live", "plain", "none"}));
  app->add_option("--max-steps", flags->max_steps,
                  "save and end after so many steps, with exit code 75 unless the job is done")
      ->check(CLI::NonNegativeNumber);
  AddTokenFile(*app, flags->token_file);
  app->add_flag("--dry-run", flags->dry_run, "print the mpirun command and end");
  app->footer(
      "Start it again to go on from the newest checkpoint. Ctrl-C saves first, a second one does "
      "not.");
  return {app, [flags] { return Train(*flags); }};
}

}  // namespace liquid
