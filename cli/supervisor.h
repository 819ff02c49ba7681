// A job on this machine: its coordinator and its gangs, started, watched, and started again.
#ifndef LIQUID_CLI_SUPERVISOR_H_
#define LIQUID_CLI_SUPERVISOR_H_

#include <string>

#include "absl/status/statusor.h"
#include "base/exit_code.h"
#include "cli/control_client.h"
#include "cli/launch.h"
#include "cli/restart_schedule.h"

namespace liquid {

struct Supervision {
  std::string output;              // of the job
  CoordinatorCommand coordinator;  // `listen` may have port 0: what is bound first is kept
  Launch gang;                     // `--coordinator HOST:PORT` is added behind it
  int num_gangs = 1;
  RestartOptions restarts;
  ControlOptions control;  // to ask the coordinator how far the job is
};

// OUTPUT/logs/coordinator.log, OUTPUT/logs/gang-2.log. Gangs are numbered from 1 here, whatever
// numbers the coordinator gives them.
std::string CoordinatorLogPath(const std::string& output);
std::string GangLogPath(const std::string& output, int gang);

// Runs the job to its end and shows on stdout how far it is; what the programs write goes into
// their logs. A gang that ends unexpectedly (restart_schedule.h) is started again, later each time;
// so is the coordinator, at the address it had. Signals are passed on as RunForwardingSignals does,
// to all gangs, and nothing is started after one. Returns
//   the coordinator's code          when it says that the job has ended;
//   kPreempted                      after a signal, unless the job ended meanwhile;
//   the first gang's that is not 0  when no gang is left that could go on (kPeerLost for a
//   signal's).
// Errors: of files, and the coordinator's and last gang's own words where they have some. Call it
// while the process has no other thread.
absl::StatusOr<ExitCode> Supervise(const Supervision& supervision);

}  // namespace liquid

#endif  // LIQUID_CLI_SUPERVISOR_H_
