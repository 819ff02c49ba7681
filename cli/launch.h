// Starting workers with mpirun, and passing signals on to them.
#ifndef LIQUID_CLI_LAUNCH_H_
#define LIQUID_CLI_LAUNCH_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace liquid {

struct Launch {
  int num_ranks = 1;
  std::string worker;                         // path of liquid-worker
  std::vector<std::string> worker_arguments;  // behind it
};

// The command line. Copes with root and with more ranks than cores.
std::vector<std::string> MpirunCommand(const Launch& launch);

struct CoordinatorCommand {
  std::string program;  // path of liquid-coordinator
  std::string file;
  std::string listen;  // empty: the job file's
  std::vector<std::string> overrides;
  std::string token_file;
  bool stay = false;
};
std::vector<std::string> CoordinatorCommandLine(const CoordinatorCommand& command);

// `command` as a shell reads it back.
std::string Quoted(const std::vector<std::string>& command);

// Path of the program of ours, such as liquid-worker, that belongs to this one: in the same
// directory. NotFound if there is none.
absl::StatusOr<std::string> FindProgram(const std::string& name);

// NotFound unless `program` is an executable file of a directory of PATH.
absl::Status CheckOnPath(const std::string& program);

struct RunResult {
  int code = 0;         // exit code; 128 + the signal that killed it
  int num_signals = 0;  // that were passed on
};

// Runs `command` to its end. SIGINT, SIGTERM, SIGHUP and SIGUSR1 that reach this process meanwhile
// are passed on: the first as SIGUSR1, which mpirun hands to all ranks (they finish the step, save
// and leave), later ones as SIGTERM, which ends them. If this process is killed, the command gets
// SIGTERM. NotFound if the program is missing. Call it while the process has no other thread, and
// last: these signals do nothing to this process from here on.
absl::StatusOr<RunResult> RunForwardingSignals(const std::vector<std::string>& command);

}  // namespace liquid

#endif  // LIQUID_CLI_LAUNCH_H_
