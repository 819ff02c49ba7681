#include "cli/launch.h"

#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/time/time.h"
#include "base/file.h"
#include "base/status.h"
#include "cli/child_process.h"
#include "cli/signal_inbox.h"
#include "cli/terminal.h"

namespace liquid {
namespace {

// Seconds between mpirun's SIGTERM and SIGKILL for its ranks. mpirun also waits so long when a rank
// is lost, with the others stuck; ranks that shall save are asked by SIGUSR1 and not by mpirun's
// end.
constexpr int kKillTimeoutSeconds = 0;
// mpirun drops a SIGUSR1 that comes before its ranks are up, so it is sent again until all is over.
constexpr absl::Duration kRepeat = absl::Seconds(1);

}  // namespace

std::vector<std::string> MpirunCommand(const Launch& launch) {
  std::vector<std::string> command = {"mpirun",
                                      "-q",
                                      "--allow-run-as-root",
                                      "--oversubscribe",
                                      "--bind-to",
                                      "none",
                                      "--mca",
                                      "odls_base_sigkill_timeout",
                                      absl::StrCat(kKillTimeoutSeconds),
                                      "-n",
                                      absl::StrCat(launch.num_ranks),
                                      launch.worker};
  command.insert(command.end(), launch.worker_arguments.begin(), launch.worker_arguments.end());
  return command;
}

std::vector<std::string> CoordinatorCommandLine(const CoordinatorCommand& command) {
  std::vector<std::string> words = {command.program, command.file};
  if (!command.listen.empty()) words.insert(words.end(), {"--listen", command.listen});
  for (const std::string& override : command.overrides) {
    words.insert(words.end(), {"--set", override});
  }
  if (!command.token_file.empty()) words.insert(words.end(), {"--token-file", command.token_file});
  if (command.stay) words.push_back("--stay");
  return words;
}

std::string Quoted(const std::vector<std::string>& command) {
  return absl::StrJoin(command, " ", [](std::string* out, const std::string& argument) {
    absl::StrAppend(out, ShellQuoted(argument));
  });
}

absl::StatusOr<std::string> FindProgram(const std::string& name) {
  char self[4096];
  const ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
  if (length <= 0) return ErrnoStatus(errno, "read the link", "/proc/self/exe");
  const std::string path(self, static_cast<size_t>(length));
  const std::string program = absl::StrCat(path.substr(0, path.rfind('/') + 1), name);
  if (!FileExists(program)) {
    return absl::NotFoundError(absl::StrCat(program, " is missing; build it with tools/build"));
  }
  return program;
}

absl::Status CheckOnPath(const std::string& program) {
  const char* path = std::getenv("PATH");
  for (const absl::string_view directory : absl::StrSplit(path == nullptr ? "" : path, ':')) {
    if (access(JoinPath(std::string(directory), program).c_str(), X_OK) == 0)
      return absl::OkStatus();
  }
  return absl::NotFoundError(
      absl::StrCat("there is no ", program, " on the PATH; tools/bootstrap installs it"));
}

absl::StatusOr<RunResult> RunForwardingSignals(const std::vector<std::string>& command) {
  SignalInbox inbox;  // before the child: no signal is lost between
  LIQUID_ASSIGN_OR_RETURN(const pid_t pid, StartChild(command, /*log=*/""));
  RunResult result;
  for (;;) {
    const bool repeats = result.num_signals == 1;
    const int signal = inbox.Next(repeats ? kRepeat : absl::Hours(1));
    if (signal == 0) {
      if (repeats) kill(pid, SIGUSR1);
    } else if (signal != SIGCHLD) {
      kill(pid, ++result.num_signals == 1 ? SIGUSR1 : SIGTERM);
    }
    const std::optional<int> code = ReapChild(pid);
    if (!code.has_value()) continue;
    result.code = *code;
    if (*code == kCannotExec) return absl::NotFoundError(absl::StrCat("cannot run ", command[0]));
    return result;
  }
}

}  // namespace liquid
