// liquid-worker: one rank of a gang, started by mpirun (or alone).
#include <malloc.h>
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/command_line.h"
#include "base/file.h"
#include "base/log.h"
#include "base/status.h"
#include "base/version.h"
#include "coordinator/job_record.h"
#include "coordinator/ledger.h"
#include "coordinator/server.h"
#include "kernels/cpu/team.h"
#include "parallel/mpi/mpi_session.h"
#include "parallel/tcp/sentinel.h"
#include "proto/access_token.h"
#include "proto/job_loader.h"
#include "worker/gang_member.h"
#include "worker/gang_run.h"
#include "worker/replay.h"
#include "worker/signals.h"

namespace liquid {
namespace {

struct Flags {
  std::string config;
  std::string coordinator;
  std::vector<std::string> overrides;
  std::string progress = "plain";
  int64_t max_steps = 0;
  double deadline_seconds = 0;  // 0: none
  std::string token_file;
  std::string data_host;
  TestFaults faults;
  std::string replay;  // an OUTPUT directory
  std::string from;
  int64_t to_step = 0;
};

// How long the host of a coordinator waits for other gangs to take their leave of a job that is
// done.
constexpr absl::Duration kFarewell = absl::Seconds(30);

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
  options.token_file = flags.token_file;
  LIQUID_ASSIGN_OR_RETURN(*server, CoordinatorServer::Start(job, options));
  return (*server)->address();
}

// Collective.
absl::StatusOr<ExitCode> Run(const Flags& flags, MpiSession& session, GangCommunicator& world,
                             Sentinel* sentinel) {
  std::unique_ptr<CoordinatorServer> server;
  GangRunOptions options;
  const auto token = ReadAccessToken(flags.token_file);
  LIQUID_RETURN_IF_ERROR(AgreeOn(world, token.status()));
  options.token = *token;
  LIQUID_ASSIGN_OR_RETURN(
      options.coordinator,
      ShareFromLeader(world, world.rank() == 0 ? FindCoordinator(flags, &server)
                                               : absl::StatusOr<std::string>("")));
  if (server != nullptr) {
    LogInfo("another gang joins with: mpirun -n ", world.size(), " liquid-worker --coordinator ",
            options.coordinator,
            flags.token_file.empty() ? "" : absl::StrCat(" --token-file ", flags.token_file));
  }
  options.data_host = flags.data_host;
  options.sentinel = sentinel;
  options.progress = StyleOf(flags.progress);
  options.ranks_on_machine = session.local_size();
  options.rank_on_machine = session.local_rank();
  options.max_steps = flags.max_steps;
  if (flags.deadline_seconds > 0) {
    options.leave_by = absl::Now() + absl::Seconds(flags.deadline_seconds);
  }
  options.faults = flags.faults;
  const absl::StatusOr<ExitCode> result = RunGang(world, options);
  if (server != nullptr) {
    // The job is over for this gang; others may still be on their way out.
    const absl::Time deadline = absl::Now() + kFarewell;
    const bool waits = result.ok() && *result == ExitCode::kOk;
    while (waits && !server->HasEnded() && absl::Now() < deadline) {
      absl::SleepFor(absl::Milliseconds(10));
    }
    server->Shutdown();
  }
  return result;
}

// Collective. What the ledger of OUTPUT says against the steps done again.
absl::Status RunReplay(const Flags& flags, MpiSession& session, GangCommunicator& world) {
  ReplayOptions options;
  auto job = LoadJob(JoinPath(flags.replay, "job.yaml"), {});
  LIQUID_RETURN_IF_ERROR(AgreeOn(world, job.status()));
  options.job = *std::move(job);
  options.job_digest = JobDigest(options.job);
  options.from = flags.from;
  options.to_step = flags.to_step;
  options.ranks_on_machine = session.local_size();
  options.rank_on_machine = session.local_rank();
  JobRecord record;
  const absl::Status read =
      world.rank() == 0
          ? ReadLedger(LedgerPath(flags.replay),
                       [&record](const LedgerEntry& entry) { return record.Apply(entry); })
                .status()
          : absl::OkStatus();
  LIQUID_RETURN_IF_ERROR(AgreeOn(world, read));
  options.fingerprint_of = [&](int64_t step) -> absl::StatusOr<std::string> {
    if (record.is_open() && step <= record.committed_step()) return record.FingerprintAfter(step);
    return absl::OutOfRangeError(
        absl::StrCat("the ledger of ", flags.replay, " has no commit of step ", step));
  };
  return Replay(world, options);
}

void AddFlags(Flags* flags, CLI::App* app) {
  auto* config = app->add_option("--config", flags->config, "job file; hosts the coordinator");
  auto* coordinator =
      app->add_option("--coordinator", flags->coordinator, "HOST:PORT of a running coordinator");
  config->excludes(coordinator);
  app->add_option("--set", flags->overrides, "job setting that overrides the file's: a.b=c");
  app->add_option("--token-file", flags->token_file, "access token of the coordinator")
      ->envname(kTokenFileVariable);
  app->add_option("--data-host", flags->data_host,
                  "address of this machine for other gangs; default: the one towards the "
                  "coordinator");
  app->add_option("--progress", flags->progress, "live, plain or none")
      ->check(CLI::IsMember({"live", "plain", "none"}));
  app->add_option("--max-steps", flags->max_steps, "save and leave after so many steps")
      ->check(CLI::NonNegativeNumber);
  app->add_option("--deadline", flags->deadline_seconds,
                  "leave, with all state kept, so many seconds after the start")
      ->check(CLI::NonNegativeNumber);
  auto* replay =
      app->add_option("--replay", flags->replay, "OUTPUT of a job: do its steps again and compare");
  app->add_option("--from", flags->from, "with --replay: a checkpoint, or `start`")->needs(replay);
  app->add_option("--to-step", flags->to_step, "with --replay: the last step")->needs(replay);
  // For tests (worker/test_faults.h).
  app->add_option("--test-slot-seconds", flags->faults.slot_seconds)->group("");
  app->add_option("--test-flip-every", flags->faults.flip_every)->group("");
  app->add_option("--test-phase-log", flags->faults.phase_log)->group("");
  app->add_option("--test-phase-seconds", flags->faults.phase_seconds)->group("");
}

int Main(int argc, char** argv) {
  InstallSignalHandlers();
  LetIdleThreadsSleep(argv);
  const auto sentinel = Sentinel::Start();  // while this process is small, and one thread
  KeepFreedMemory();
  MpiSession session(&argc, &argv);
  InstallSignalHandlers();  // again: MPI_Init has handlers of its own

  Flags flags;
  CLI::App app("Trains a model as one rank of a gang; start it with mpirun.", "liquid-worker");
  AddFlags(&flags, &app);
  app.set_version_flag("--version", CodeVersion());
  if (const auto end = ParseCommandLine(app, argc, argv)) return static_cast<int>(*end);
  InitializeLog(absl::StrCat("rank ", session.rank()), LogLevel::kInfo);
  if (flags.config.empty() + flags.coordinator.empty() + flags.replay.empty() != 2) {
    if (session.rank() == 0) {
      LogError("give one of --config FILE, --coordinator HOST:PORT and --replay OUTPUT");
    }
    return static_cast<int>(ExitCode::kBadConfig);
  }

  const std::unique_ptr<GangCommunicator> world = session.CreateWorld();
  if (!sentinel.ok()) LogWarning("deaths will be noticed later: ", sentinel.status().message());
  absl::StatusOr<ExitCode> result = ExitCode::kOk;
  if (!flags.replay.empty()) {
    if (const absl::Status done = RunReplay(flags, session, *world); !done.ok()) result = done;
  } else {
    result = Run(flags, session, *world, sentinel.ok() ? sentinel->get() : nullptr);
  }
  if (result.ok()) return static_cast<int>(*result);
  const auto code = static_cast<int>(ExitCodeOf(result.status()));
  // All ranks have the same error, so one tells it; unless the gang itself is broken.
  const bool is_broken = !world->Wait(absl::InfiniteFuture()).ok();
  if (session.rank() == 0 || is_broken)
    LogError(result.status().message(), " (exit code ", code, ")");
  if (is_broken) MpiSession::AbortAll(code);  // the others may wait for this rank
  return code;
}

}  // namespace
}  // namespace liquid

int main(int argc, char** argv) { return liquid::Main(argc, argv); }
