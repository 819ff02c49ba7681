// Starting a gang on this machine: mpirun, and what it needs to be told.
#ifndef LIQUID_CLI_LAUNCH_H_
#define LIQUID_CLI_LAUNCH_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/exit_code.h"

namespace liquid {

struct Launch {
  std::string worker;  // path of liquid-worker
  int num_ranks = 1;
  std::vector<std::string> worker_arguments;
};

// The command line of it. Allows root and more ranks than cores, leaves the cores to the worker's
// own threads, gives ranks the time to save when mpirun is told to end, and keeps mpirun quiet.
std::vector<std::string> MpirunCommand(const Launch& launch);

// liquid-worker beside the running program; NotFound if it is not there.
absl::StatusOr<std::string> FindWorker();

// Runs `command` to its end and returns its exit code (128 + signal if a signal ended it). SIGINT
// and SIGTERM to this process become SIGUSR1 for the command, which asks the ranks to save and
// leave (mpirun passes it on); from the second on they become SIGTERM, which ends them at once.
// REQUIRES: only one at a time.
absl::StatusOr<int> RunForwardingSignals(const std::vector<std::string>& command);

}  // namespace liquid

#endif  // LIQUID_CLI_LAUNCH_H_
