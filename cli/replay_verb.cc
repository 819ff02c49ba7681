#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status.h"
#include "checkpoint/catalog.h"
#include "checkpoint/manifest.h"
#include "cli/launch.h"
#include "cli/terminal.h"
#include "cli/verbs.h"
#include "coordinator/audit.h"

namespace liquid {
namespace {

struct ReplayFlags {
  std::string output;
  std::string from;
  int64_t to_step = 0;
  int num_ranks = 1;
  bool dry_run = false;
};

constexpr char kStart[] = "start";  // instead of a checkpoint: the weights of step 0

// `from` as a directory: a path, or the name of one of the job's checkpoints.
absl::StatusOr<std::string> FindCheckpoint(const ReplayFlags& flags) {
  if (flags.from == kStart) return flags.from;
  const std::string own = JoinPath(JoinPath(flags.output, "checkpoints"), flags.from);
  const std::string path = FileExists(own) ? own : flags.from;
  if (FileExists(path)) return path;
  return WithExitCode(
      absl::NotFoundError(absl::StrCat("there is no checkpoint ", flags.from,
                                       ", neither here nor in ", flags.output, "/checkpoints")),
      ExitCode::kCheckpoint);
}

absl::StatusOr<int64_t> StepOf(const std::string& checkpoint) {
  if (checkpoint == kStart) return 0;
  const std::string path = JoinPath(checkpoint, kManifestName);
  LIQUID_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  LIQUID_ASSIGN_OR_RETURN(const Manifest manifest, ParseManifest(text, path));
  return manifest.state.step;
}

absl::StatusOr<ExitCode> Replay(const ReplayFlags& flags) {
  // The ranks check all of it too; but here a mistake costs no start of mpirun.
  LIQUID_ASSIGN_OR_RETURN(const JobStatus status, ReadJobStatus(flags.output));
  LIQUID_ASSIGN_OR_RETURN(const std::string checkpoint, FindCheckpoint(flags));
  const absl::StatusOr<int64_t> from = StepOf(checkpoint);
  if (!from.ok()) return WithExitCode(from.status(), ExitCode::kCheckpoint);
  if (flags.to_step <= *from || flags.to_step > status.step()) {
    return absl::InvalidArgumentError(
        absl::StrCat("--to-step ", flags.to_step, ": ", checkpoint, " is of step ", *from,
                     ", and the ledger of ", flags.output, " has steps up to ", status.step()));
  }
  Launch launch;
  LIQUID_ASSIGN_OR_RETURN(launch.worker, FindProgram("liquid-worker"));
  launch.num_ranks = flags.num_ranks;
  launch.worker_arguments = {"--replay", flags.output, "--from",
                             checkpoint, "--to-step",  absl::StrCat(flags.to_step)};
  const std::vector<std::string> command = MpirunCommand(launch);
  if (flags.dry_run) {
    PrintLine(Quoted(command));
    return ExitCode::kOk;
  }
  LIQUID_RETURN_IF_ERROR(CheckOnPath(command[0]));
  LIQUID_ASSIGN_OR_RETURN(const RunResult result, RunForwardingSignals(command));
  if (IsExitCode(result.code)) return static_cast<ExitCode>(result.code);
  if (result.num_signals > 0) return ExitCode::kPreempted;
  return WithExitCode(absl::UnavailableError(absl::StrCat(
                          "a rank was lost (mpirun ended with code ", result.code, ")")),
                      ExitCode::kPeerLost);
}

}  // namespace

Verb AddReplayVerb(CLI::App& liquid) {
  auto flags = std::make_shared<ReplayFlags>();
  CLI::App* app = liquid.add_subcommand(
      "replay", "Computes steps again, from a checkpoint, and holds each against the ledger.");
  app->add_option("OUTPUT", flags->output, "the job's output directory")->required();
  app->add_option("--from", flags->from,
                  "checkpoint: its name (step-00000100) or its directory; or `start`")
      ->required();
  app->add_option("--to-step", flags->to_step, "the last step to compute")
      ->required()
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 60));
  app->add_option("-n,--ranks", flags->num_ranks,
                  "how many processes; the bits do not depend on it")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  app->add_flag("--dry-run", flags->dry_run, "print the mpirun command and end");
  return {app, [flags] { return Replay(*flags); }};
}

}  // namespace liquid
