// Running the installed programs as a user would, for tests that judge them from outside.
#ifndef LIQUID_TESTS_SYSTEM_LIQUID_PROCESS_H_
#define LIQUID_TESTS_SYSTEM_LIQUID_PROCESS_H_

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"

namespace liquid::testing {

struct Finished {
  int exit_code = 0;   // 128 + signal if a signal ended it
  std::string output;  // stdout and stderr, interleaved
};

// A running command, in a process group of its own. Killed with its whole group at the end.
class Process {
 public:
  // arguments[0] is found on PATH, or is one of ours: "liquid", "liquid-worker", ...
  explicit Process(const std::vector<std::string>& arguments);
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  pid_t pid() const { return pid_; }
  void Signal(int signal) const;       // to the process alone
  void SignalGroup(int signal) const;  // to it and what it started in its group
  // Waits until `text` stands in its output; false if it ended, or `timeout` passed, before.
  bool WaitForOutput(const std::string& text, absl::Duration timeout);
  // Waits for its end; a command that outlives `timeout` is killed and has exit code 124.
  Finished Wait(absl::Duration timeout = absl::Seconds(120));
  std::string output() const;

 private:
  pid_t pid_ = -1;
  std::string output_path_;
};

Finished RunToEnd(const std::vector<std::string>& arguments);

// Processes whose command line contains `text`, this one's ancestors and itself left out.
std::vector<pid_t> FindProcesses(const std::string& text);

// The processes that `root` started, and those that they started.
std::vector<pid_t> Descendants(pid_t root);

// Ports on which `pid` listens at the loopback address.
std::vector<int> ListeningPorts(pid_t pid);

// A directory that goes with its owner.
class TemporaryDirectory {
 public:
  TemporaryDirectory();
  ~TemporaryDirectory();
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// The last line of `text` that is not empty.
std::string LastLine(const std::string& text);

}  // namespace liquid::testing

#endif  // LIQUID_TESTS_SYSTEM_LIQUID_PROCESS_H_
