#include "tests/system/liquid_process.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "base/check.h"
#include "base/file.h"

namespace liquid::testing {
namespace {

constexpr absl::Duration kPoll = absl::Milliseconds(5);

std::string ProgramPath(const std::string& name) {
  return absl::StartsWith(name, "liquid") ? std::string(LIQUID_BIN_DIR) + "/" + name : name;
}

}  // namespace

Process::Process(const std::vector<std::string>& arguments) {
  char path[] = "/tmp/liquid-output-XXXXXX";
  const int output = mkstemp(path);
  LIQUID_CHECK(output >= 0, path);
  output_path_ = path;
  std::vector<std::string> copy = arguments;
  copy[0] = ProgramPath(copy[0]);
  std::vector<char*> argv;
  for (std::string& argument : copy) argv.push_back(argument.data());
  argv.push_back(nullptr);
  pid_ = fork();
  LIQUID_CHECK(pid_ >= 0);
  if (pid_ == 0) {
    setpgid(0, 0);
    dup2(open("/dev/null", O_RDONLY), STDIN_FILENO);
    dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);
    execvp(argv[0], argv.data());
    _exit(127);
  }
  close(output);
}

Process::~Process() {
  if (pid_ > 0) {
    SignalGroup(SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  unlink(output_path_.c_str());
}

void Process::Signal(int signal) const { kill(pid_, signal); }

void Process::SignalGroup(int signal) const { kill(-pid_, signal); }

std::string Process::output() const { return ReadFile(output_path_).value_or(""); }

bool Process::WaitForOutput(const std::string& text, absl::Duration timeout) {
  const absl::Time deadline = absl::Now() + timeout;
  while (absl::Now() < deadline) {
    if (absl::StrContains(output(), text)) return true;
    siginfo_t info{};
    const bool ended =
        waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
        info.si_pid == pid_;
    if (ended) return absl::StrContains(output(), text);
    absl::SleepFor(kPoll);
  }
  return false;
}

Finished Process::Wait(absl::Duration timeout) {
  const absl::Time deadline = absl::Now() + timeout;
  int status = 0;
  while (waitpid(pid_, &status, WNOHANG) == 0) {
    if (absl::Now() >= deadline) {
      SignalGroup(SIGKILL);
      waitpid(pid_, &status, 0);
      pid_ = -1;
      return {124, output()};
    }
    absl::SleepFor(kPoll);
  }
  pid_ = -1;
  return {WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status), output()};
}

Finished RunToEnd(const std::vector<std::string>& arguments) { return Process(arguments).Wait(); }

std::vector<pid_t> FindProcesses(const std::string& text) {
  std::vector<pid_t> found;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    int pid = 0;
    if (!absl::SimpleAtoi(entry.path().filename().string(), &pid) || pid == getpid()) continue;
    const std::string command = ReadFile(entry.path().string() + "/cmdline").value_or("");
    if (absl::StrContains(command, text)) found.push_back(pid);
  }
  return found;
}

std::vector<pid_t> Descendants(pid_t root) {
  std::vector<std::pair<pid_t, pid_t>> parents;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    int pid = 0;
    if (!absl::SimpleAtoi(entry.path().filename().string(), &pid)) continue;
    const std::string stat = ReadFile(entry.path().string() + "/stat").value_or("");
    const size_t name_end = stat.rfind(") ");
    if (name_end == std::string::npos) continue;
    const std::vector<std::string> fields = absl::StrSplit(stat.substr(name_end + 2), ' ');
    int parent = 0;
    if (fields.size() > 1 && absl::SimpleAtoi(fields[1], &parent))
      parents.emplace_back(pid, parent);
  }
  std::vector<pid_t> found = {root};
  for (size_t i = 0; i < found.size(); ++i) {
    for (const auto& [pid, parent] : parents) {
      if (parent == found[i]) found.push_back(pid);
    }
  }
  found.erase(found.begin());
  return found;
}

std::vector<int> ListeningPorts(pid_t pid) {
  std::set<std::string> inodes;
  std::error_code ignored;
  for (const auto& entry :
       std::filesystem::directory_iterator(absl::StrCat("/proc/", pid, "/fd"), ignored)) {
    const std::string target = std::filesystem::read_symlink(entry.path(), ignored).string();
    if (absl::StartsWith(target, "socket:[")) inodes.insert(target.substr(8, target.size() - 9));
  }
  std::vector<int> ports;
  const std::string table = ReadFile("/proc/net/tcp").value_or("");
  for (const absl::string_view line : absl::StrSplit(table, '\n')) {
    // sl local_address rem_address st ... inode; 0A: listening; 127.0.0.1 is 0100007F.
    const std::vector<std::string> words = absl::StrSplit(line, ' ', absl::SkipEmpty());
    if (words.size() < 10 || words[3] != "0A" || !inodes.contains(words[9])) continue;
    if (absl::StartsWith(words[1], "0100007F:")) {
      ports.push_back(std::stoi(words[1].substr(9), nullptr, 16));
    }
  }
  return ports;
}

TemporaryDirectory::TemporaryDirectory() {
  char path[] = "/tmp/liquid-test-XXXXXX";
  LIQUID_CHECK(mkdtemp(path) != nullptr);
  path_ = path;
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string LastLine(const std::string& text) {
  std::string last;
  for (const absl::string_view line : absl::StrSplit(text, '\n', absl::SkipWhitespace())) {
    last = std::string(line);
  }
  return last;
}

}  // namespace liquid::testing
