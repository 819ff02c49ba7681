#include "cli/launch.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>

#include "absl/strings/str_cat.h"
#include "base/file.h"

namespace liquid {
namespace {

// Seconds between mpirun's SIGTERM and SIGKILL for its ranks: enough to finish a step and save.
constexpr int kGraceSeconds = 60;

// A signal handler can reach nothing but globals.
std::atomic<pid_t> child = 0;
std::atomic<int> num_signals = 0;

void Forward(int /*signal*/) {
  const pid_t pid = child.load();
  if (pid <= 0) return;
  const int saved_errno = errno;
  kill(pid, num_signals.fetch_add(1) == 0 ? SIGUSR1 : SIGTERM);
  errno = saved_errno;
}

void Exec(const std::vector<std::string>& command) {
  std::vector<char*> arguments;
  for (const std::string& argument : command) {
    arguments.push_back(const_cast<char*>(argument.c_str()));
  }
  arguments.push_back(nullptr);
  execvp(arguments[0], arguments.data());
}

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
                                      absl::StrCat(kGraceSeconds),
                                      "-n",
                                      absl::StrCat(launch.num_ranks),
                                      launch.worker};
  command.insert(command.end(), launch.worker_arguments.begin(), launch.worker_arguments.end());
  return command;
}

absl::StatusOr<std::string> FindWorker() {
  char self[4096];
  const ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
  if (length <= 0) return ErrnoStatus(errno, "read the link", "/proc/self/exe");
  const std::string path(self, static_cast<size_t>(length));
  const std::string worker = path.substr(0, path.rfind('/')) + "/liquid-worker";
  if (!FileExists(worker)) {
    return absl::NotFoundError(absl::StrCat(worker, " is missing; build it with tools/build"));
  }
  return worker;
}

absl::StatusOr<int> RunForwardingSignals(const std::vector<std::string>& command) {
  struct sigaction action {};
  action.sa_handler = Forward;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);

  const pid_t pid = fork();
  if (pid < 0) return ErrnoStatus(errno, "start", command[0]);
  if (pid == 0) {
    // Out of the terminal's foreground group: Ctrl-C reaches us alone, and we pass it on.
    setpgid(0, 0);
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    Exec(command);
    _exit(127);
  }
  child.store(pid);
  int status = 0;
  while (waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR) return ErrnoStatus(errno, "wait for", command[0]);
  }
  child.store(0);
  if (WIFSIGNALED(status)) return 128 + WTERMSIG(status);
  if (WEXITSTATUS(status) == 127) {
    return absl::NotFoundError(
        absl::StrCat("cannot run ", command[0], "; is Open MPI installed (tools/bootstrap)?"));
  }
  return WEXITSTATUS(status);
}

}  // namespace liquid
