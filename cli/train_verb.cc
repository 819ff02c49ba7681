#include <unistd.h>

#include <memory>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "cli/launch.h"
#include "cli/verbs.h"
#include "proto/job_loader.h"

namespace liquid {
namespace {

struct TrainFlags {
  std::string file;
  int num_ranks = 1;
  std::vector<std::string> overrides;
  std::string progress;
};

// Codes that our worker ends with; anything else is mpirun's own and means a lost rank.
bool IsExitCode(int code) {
  for (const ExitCode known :
       {ExitCode::kOk, ExitCode::kFailure, ExitCode::kBadConfig, ExitCode::kData,
        ExitCode::kCheckpoint, ExitCode::kDivergence, ExitCode::kDiskFull, ExitCode::kPeerLost,
        ExitCode::kOutOfMemory, ExitCode::kPreempted}) {
    if (code == static_cast<int>(known)) return true;
  }
  return false;
}

absl::StatusOr<ExitCode> Train(const TrainFlags& flags) {
  // The ranks check it too; but here a mistake costs no start of mpirun.
  LIQUID_RETURN_IF_ERROR(LoadJob(flags.file, flags.overrides).status());
  Launch launch;
  LIQUID_ASSIGN_OR_RETURN(launch.worker, FindWorker());
  launch.num_ranks = flags.num_ranks;
  launch.worker_arguments = {"--config", flags.file};
  for (const std::string& override : flags.overrides) {
    launch.worker_arguments.insert(launch.worker_arguments.end(), {"--set", override});
  }
  std::string progress = flags.progress;
  if (progress.empty()) progress = isatty(STDOUT_FILENO) != 0 ? "live" : "plain";
  launch.worker_arguments.insert(launch.worker_arguments.end(), {"--progress", progress});
  LIQUID_ASSIGN_OR_RETURN(const int code, RunForwardingSignals(MpirunCommand(launch)));
  if (IsExitCode(code)) return static_cast<ExitCode>(code);
  return WithExitCode(absl::UnavailableError(
                          absl::StrCat("a rank was lost (mpirun ended with code ", code,
                                       "); the same command goes on from the newest checkpoint")),
                      ExitCode::kPeerLost);
}

}  // namespace

Verb AddTrainVerb(CLI::App& liquid) {
  auto flags = std::make_shared<TrainFlags>();
  CLI::App* app = liquid.add_subcommand("train", "Trains the job of a file with mpirun here.");
  app->add_option("file", flags->file, "job file")->required();
  app->add_option("-n", flags->num_ranks, "ranks")->check(CLI::Range(1, 4096));
  app->add_option("--set", flags->overrides, "job setting that overrides the file's: a.b=c");
  app->add_option("--progress", flags->progress,
                  "live, plain or none; default: live in a terminal, else plain")
      ->check(CLI::IsMember({"live", "plain", "none"}));
  return {app, [flags] { return Train(*flags); }};
}

}  // namespace liquid
