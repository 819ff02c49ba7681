#include <algorithm>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "cli/job_check.h"
#include "cli/job_target.h"
#include "cli/launch.h"
#include "cli/supervisor.h"
#include "cli/terminal.h"
#include "cli/verbs.h"
#include "proto/access_token.h"
#include "proto/job_loader.h"

namespace liquid {
namespace {

struct LaunchFlags {
  CoordinatorCommand coordinator;
  int num_gangs = 1;
  int num_ranks = 1;
  double restart_delay = 1;
  int max_restarts = 10;
  bool dry_run = false;
};

// The gangs share this machine, and none of them knows of the others.
void ShareProcessors(int num_processes) {
  const unsigned online = std::max(1u, std::thread::hardware_concurrency());
  const unsigned each = std::max(1u, online / static_cast<unsigned>(num_processes));
  setenv("OMP_NUM_THREADS", absl::StrCat(each).c_str(), /*overwrite=*/0);
}

absl::StatusOr<ExitCode> LaunchJob(const LaunchFlags& flags) {
  LIQUID_ASSIGN_OR_RETURN(const Job job,
                          LoadJob(flags.coordinator.file, flags.coordinator.overrides));
  LIQUID_RETURN_IF_ERROR(CheckJobInputs(job));
  Supervision supervision;
  supervision.output = job.output();
  supervision.coordinator = flags.coordinator;
  if (flags.coordinator.listen.empty()) {
    supervision.coordinator.listen = job.coordinator().listen();
  }
  LIQUID_ASSIGN_OR_RETURN(supervision.coordinator.program, FindProgram("liquid-coordinator"));
  LIQUID_ASSIGN_OR_RETURN(supervision.gang.worker, FindProgram("liquid-worker"));
  supervision.gang.num_ranks = flags.num_ranks;
  if (!flags.coordinator.token_file.empty()) {
    supervision.gang.worker_arguments = {"--token-file", flags.coordinator.token_file};
  }
  supervision.num_gangs = flags.num_gangs;
  supervision.restarts = {absl::Seconds(flags.restart_delay), flags.max_restarts};
  supervision.control.timeout = absl::Seconds(1);
  LIQUID_ASSIGN_OR_RETURN(supervision.control.token, ReadAccessToken(flags.coordinator.token_file));
  if (flags.dry_run) {
    PrintLine(Quoted(CoordinatorCommandLine(supervision.coordinator)));
    supervision.gang.worker_arguments.insert(supervision.gang.worker_arguments.begin(),
                                             {"--coordinator", "HOST:PORT"});
    PrintLine(absl::StrCat(flags.num_gangs, " times: ", Quoted(MpirunCommand(supervision.gang))));
    return ExitCode::kOk;
  }
  LIQUID_RETURN_IF_ERROR(CheckOnPath("mpirun"));
  ShareProcessors(flags.num_gangs * flags.num_ranks);
  return Supervise(supervision);
}

}  // namespace

Verb AddLaunchVerb(CLI::App& liquid) {
  auto flags = std::make_shared<LaunchFlags>();
  CLI::App* app = liquid.add_subcommand(
      "launch", "Trains with several gangs on this machine, and starts again what dies.");
  app->add_option("FILE", flags->coordinator.file, "job file")->required();
  app->add_option("--gangs", flags->num_gangs, "how many gangs")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  app->add_option("-n,--ranks", flags->num_ranks, "how many processes each of them has")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  app->add_option("--restart-delay", flags->restart_delay,
                  "seconds before a dead gang is started again; twice as many each time, up to 60")
      ->check(CLI::Range(0.0, 3600.0))
      ->capture_default_str();
  app->add_option("--max-restarts", flags->max_restarts,
                  "how often in a row; a minute of work counts as a fresh start")
      ->check(CLI::Range(0, 1000000))
      ->capture_default_str();
  app->add_option("--listen", flags->coordinator.listen, "HOST:PORT instead of coordinator.listen");
  app->add_option("--set", flags->coordinator.overrides,
                  "job setting that overrides the file's: KEY=VALUE")
      ->allow_extra_args(false);
  AddTokenFile(*app, flags->coordinator.token_file);
  app->add_flag("--dry-run", flags->dry_run, "print the commands and end");
  app->footer(
      "What the programs write goes to OUTPUT/logs. Ctrl-C saves first, a second one does not.");
  return {app, [flags] { return LaunchJob(*flags); }};
}

}  // namespace liquid
