// The life of a gang in this process: join the job, load what it needs, train, leave.
#ifndef LIQUID_WORKER_GANG_RUN_H_
#define LIQUID_WORKER_GANG_RUN_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "base/exit_code.h"
#include "parallel/communicator.h"
#include "worker/progress.h"

namespace liquid {

struct GangRunOptions {
  ProgressStyle progress = ProgressStyle::kPlain;
  int ranks_on_machine = 1;
  int64_t max_steps = 0;  // save and leave after so many steps, as if asked to go; 0: no limit
};

// Collective. `coordinator` (HOST:PORT) counts on rank 0 only. How the process is to end; an error
// is the same on every rank, unless the communicator itself has failed.
absl::StatusOr<ExitCode> RunGang(const std::string& coordinator, Communicator& world,
                                 const GangRunOptions& options);

}  // namespace liquid

#endif  // LIQUID_WORKER_GANG_RUN_H_
