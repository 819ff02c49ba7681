// liquid-worker: one rank of a gang, started by mpirun (or alone).
#include <malloc.h>
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/command_line.h"
#include "base/log.h"
#include "base/status.h"
#include "base/version.h"
#include "coordinator/server.h"
#include "kernels/cpu/team.h"
#include "parallel/mpi/mpi_session.h"
#include "proto/job_loader.h"
#include "worker/gang_member.h"
#include "worker/gang_run.h"
#include "worker/signals.h"

namespace liquid {
namespace {

struct Flags {
  std::string config;
  std::string coordinator;
  std::vector<std::string> overrides;
  std::string progress = "plain";
  int64_t max_steps = 0;
};

// Freed memory is kept: its first touch would cost more than all that is computed with it.
void KeepFreedMemory() {
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
  mallopt(M_TOP_PAD, 16 << 20);
}

ProgressStyle StyleOf(const std::string& name) {
  if (name == "live") return ProgressStyle::kLive;
  return name == "none" ? ProgressStyle::kNone : ProgressStyle::kPlain;
}

// On rank 0: the address of the coordinator, which is hosted here if the job file says so.
absl::StatusOr<std::string> FindCoordinator(const Flags& flags,
                                            std::unique_ptr<CoordinatorServer>* server) {
  if (!flags.coordinator.empty()) return flags.coordinator;
  LIQUID_ASSIGN_OR_RETURN(const Job job, LoadJob(flags.config, flags.overrides));
  if (!job.coordinator().embedded()) {
    return absl::InvalidArgumentError(
        absl::StrCat(flags.config, ": coordinator.embedded is false; start `liquid-coordinator ",
                     flags.config, "` and give its address with --coordinator HOST:PORT"));
  }
  CoordinatorServer::Options options;
  options.listen = job.coordinator().listen();
  LIQUID_ASSIGN_OR_RETURN(*server, CoordinatorServer::Start(job, options));
  return (*server)->address();
}

absl::StatusOr<ExitCode> Run(const Flags& flags, MpiSession& session, Communicator& world) {
  std::unique_ptr<CoordinatorServer> server;
  LIQUID_ASSIGN_OR_RETURN(
      const std::string coordinator,
      ShareFromLeader(world, world.rank() == 0 ? FindCoordinator(flags, &server)
                                               : absl::StatusOr<std::string>("")));
  GangRunOptions options;
  options.progress = StyleOf(flags.progress);
  options.ranks_on_machine = session.local_size();
  options.max_steps = flags.max_steps;
  const absl::StatusOr<ExitCode> result = RunGang(coordinator, world, options);
  if (server != nullptr) server->Shutdown();
  return result;
}

int Main(int argc, char** argv) {
  InstallSignalHandlers();
  LetIdleThreadsSleep(argv);
  KeepFreedMemory();
  MpiSession session(&argc, &argv);
  InstallSignalHandlers();  // again: MPI_Init has handlers of its own

  Flags flags;
  CLI::App app("Trains a model as one rank of a gang; start it with mpirun.", "liquid-worker");
  auto* config = app.add_option("--config", flags.config, "job file; hosts the coordinator");
  auto* coordinator =
      app.add_option("--coordinator", flags.coordinator, "HOST:PORT of a running coordinator");
  config->excludes(coordinator);
  app.add_option("--set", flags.overrides, "job setting that overrides the file's: a.b=c");
  app.add_option("--progress", flags.progress, "live, plain or none")
      ->check(CLI::IsMember({"live", "plain", "none"}));
  app.add_option("--max-steps", flags.max_steps, "save and leave after so many steps")
      ->check(CLI::NonNegativeNumber);
  app.set_version_flag("--version", CodeVersion());
  if (const auto end = ParseCommandLine(app, argc, argv)) return static_cast<int>(*end);
  InitializeLog(absl::StrCat("rank ", session.rank()), LogLevel::kInfo);
  if (flags.config.empty() == flags.coordinator.empty()) {
    if (session.rank() == 0) LogError("give one of --config FILE and --coordinator HOST:PORT");
    return static_cast<int>(ExitCode::kBadConfig);
  }

  const std::unique_ptr<Communicator> world = session.CreateWorld();
  const absl::StatusOr<ExitCode> result = Run(flags, session, *world);
  if (result.ok()) return static_cast<int>(*result);
  const auto code = static_cast<int>(ExitCodeOf(result.status()));
  // All ranks have the same error, so one tells it.
  if (session.rank() == 0) LogError(result.status().message(), " (exit code ", code, ")");
  return code;
}

}  // namespace
}  // namespace liquid

int main(int argc, char** argv) { return liquid::Main(argc, argv); }
