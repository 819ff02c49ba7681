#include "cli/launch.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/file.h"

namespace liquid {
namespace {

// Seconds between mpirun's SIGTERM and SIGKILL for its ranks. mpirun also waits so long when a rank
// is lost, with the others stuck; ranks that shall save are asked by SIGUSR1 and not by mpirun's
// end.
constexpr int kKillTimeoutSeconds = 0;
// mpirun drops a SIGUSR1 that comes before its ranks are up, so it is sent again until all is over.
constexpr int kRepeatSeconds = 1;
constexpr int kCannotExec = 127;
constexpr std::array<int, 4> kForwarded = {SIGINT, SIGTERM, SIGHUP, SIGUSR1};

// A signal handler can reach nothing but globals.
std::atomic<pid_t> child = 0;
std::atomic<int> num_signals = 0;

void Forward(int /*signal*/) {
  const pid_t pid = child.load();
  if (pid <= 0) return;
  const int saved_errno = errno;
  kill(pid, num_signals.fetch_add(1) == 0 ? SIGUSR1 : SIGTERM);
  alarm(kRepeatSeconds);
  errno = saved_errno;
}

void Repeat(int /*signal*/) {
  const pid_t pid = child.load();
  if (pid <= 0) return;
  const int saved_errno = errno;
  kill(pid, SIGUSR1);
  alarm(kRepeatSeconds);
  errno = saved_errno;
}

sigset_t ForwardedSet() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : kForwarded) sigaddset(&set, signal);
  return set;
}

// In the child, with the forwarded signals blocked; `mask` is what they were before.
[[noreturn]] void Exec(const std::vector<std::string>& command, const sigset_t& mask) {
  // Out of the terminal's foreground group: Ctrl-C reaches us alone, and we pass it on. A process
  // in the background may not read the terminal either.
  setpgid(0, 0);
  const int null = open("/dev/null", O_RDONLY);
  if (null >= 0) dup2(null, STDIN_FILENO);
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  for (const int number : kForwarded) signal(number, SIG_DFL);
  sigprocmask(SIG_SETMASK, &mask, nullptr);
  std::vector<char*> arguments;
  for (const std::string& argument : command) {
    arguments.push_back(const_cast<char*>(argument.c_str()));
  }
  arguments.push_back(nullptr);
  execvp(arguments[0], arguments.data());
  _exit(kCannotExec);
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
                                      absl::StrCat(kKillTimeoutSeconds),
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
  // Signals wait until the child is known, so that none is lost between.
  const sigset_t forwarded = ForwardedSet();
  sigset_t mask;
  sigprocmask(SIG_BLOCK, &forwarded, &mask);
  struct sigaction action {};
  action.sa_handler = Forward;
  sigemptyset(&action.sa_mask);
  for (const int signal : kForwarded) sigaction(signal, &action, nullptr);
  action.sa_handler = Repeat;
  sigaction(SIGALRM, &action, nullptr);
  num_signals.store(0);

  const pid_t pid = fork();
  if (pid < 0) return ErrnoStatus(errno, "start", command[0]);
  if (pid == 0) Exec(command, mask);
  child.store(pid);
  sigprocmask(SIG_SETMASK, &mask, nullptr);
  int status = 0;
  while (waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR) return ErrnoStatus(errno, "wait for", command[0]);
  }
  child.store(0);
  alarm(0);
  RunResult result;
  result.num_signals = num_signals.load();
  result.code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  if (WIFEXITED(status) && result.code == kCannotExec) {
    return absl::NotFoundError(absl::StrCat("cannot run ", command[0]));
  }
  return result;
}

}  // namespace liquid
