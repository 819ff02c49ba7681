// Commands that run beside this program.
#ifndef LIQUID_CLI_CHILD_PROCESS_H_
#define LIQUID_CLI_CHILD_PROCESS_H_

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace liquid {

// What a child ends with if its program could not be run.
inline constexpr int kCannotExec = 127;

// Starts `command`, found on the PATH, in a process group of its own (so that Ctrl-C in a terminal
// reaches us alone), with no signal blocked and nothing to read. What it writes is appended to the
// file `log`; empty: it goes where ours goes. If this process ends, whatever way, the child gets
// SIGTERM. Call it from the main thread: the child would get that signal at the end of another.
absl::StatusOr<pid_t> StartChild(const std::vector<std::string>& command, const std::string& log);

// The code that a child ended with, 128 + the signal that killed it; nothing while it runs.
std::optional<int> ReapChild(pid_t pid);

}  // namespace liquid

#endif  // LIQUID_CLI_CHILD_PROCESS_H_
