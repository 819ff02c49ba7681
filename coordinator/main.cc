// liquid-coordinator FILE: serves one job on its own, for gangs that come and go.
#include <signal.h>

#include <string>
#include <vector>

#include "CLI/App.hpp"
#include "CLI/Config.hpp"
#include "CLI/Formatter.hpp"
#include "absl/strings/ascii.h"
#include "base/command_line.h"
#include "base/exit_code.h"
#include "base/log.h"
#include "base/version.h"
#include "coordinator/server.h"
#include "proto/access_token.h"
#include "proto/job_loader.h"

namespace liquid {
namespace {

constexpr int kPollMs = 100;

int Exit(const absl::Status& status) {
  if (!status.ok()) LogError(status.message());
  return static_cast<int>(ExitCodeOf(status));
}

// True if one of `signals`, which are blocked, came within kPollMs.
bool SignalCame(const sigset_t& signals) {
  const timespec timeout = {0, kPollMs * 1000000L};
  return sigtimedwait(&signals, nullptr, &timeout) > 0;
}

int Serve(const Job& job, const CoordinatorServer::Options& options, bool stay) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);  // before any thread starts: all inherit it

  const auto server = CoordinatorServer::Start(job, options);
  if (!server.ok()) return Exit(server.status());
  LogInfo("job ", job.job(), " at ", (*server)->address(), ", output ", job.output(),
          "; a gang without heartbeat is gone after ",
          job.coordinator().heartbeat_timeout_seconds(), " s");
  bool is_preempted = false;
  while (!is_preempted && (stay || !(*server)->HasEnded())) is_preempted = SignalCame(signals);
  const bool has_ended = (*server)->HasEnded();
  if (has_ended)
    LogInfo("the job is ", absl::AsciiStrToLower(JobState_Name((*server)->WaitUntilEnded())));
  const absl::Status failure = (*server)->Failure();
  (*server)->Shutdown();
  if (!has_ended) return Exit(absl::CancelledError("ended by a signal; start again to go on"));
  return Exit(failure);
}

int Main(int argc, char** argv) {
  InitializeLog("coordinator", LogLevel::kInfo);
  std::string file;
  std::vector<std::string> overrides;
  CoordinatorServer::Options options;
  options.keep_pause = true;
  bool stay = false;
  CLI::App app("Serves one training job to gangs of liquid-worker, until it is done.");
  app.set_version_flag("--version", CodeVersion());
  app.add_option("FILE", file, "job file")->required();
  app.add_option("--listen", options.listen, "HOST:PORT instead of coordinator.listen");
  app.add_option("--set", overrides, "KEY=VALUE over the job file; may be repeated")
      ->allow_extra_args(false);
  app.add_option("--token-file", options.token_file,
                 "file with the access token that gangs and people must show; needed to listen "
                 "beyond this machine")
      ->envname(kTokenFileVariable);
  app.add_flag("--stay", stay, "go on answering after the job has ended, until a signal");
  if (const auto end = ParseCommandLine(app, argc, argv)) return static_cast<int>(*end);
  const auto job = LoadJob(file, overrides);
  if (!job.ok()) return Exit(job.status());
  return Serve(*job, options, stay);
}

}  // namespace
}  // namespace liquid

int main(int argc, char** argv) { return liquid::Main(argc, argv); }
