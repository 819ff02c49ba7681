// The life of a gang in this process: join the job, load what it needs, train, leave.
#ifndef LIQUID_WORKER_GANG_RUN_H_
#define LIQUID_WORKER_GANG_RUN_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/exit_code.h"
#include "parallel/gang_communicator.h"
#include "parallel/tcp/sentinel.h"
#include "worker/progress.h"
#include "worker/test_faults.h"

namespace liquid {

struct GangRunOptions {
  std::string coordinator;  // HOST:PORT
  std::string token;        // access token; empty: none
  std::string data_host;    // address for other gangs to connect to; empty: the one towards the
                            // coordinator
  Sentinel* sentinel = nullptr;  // may be null
  ProgressStyle progress = ProgressStyle::kPlain;
  int ranks_on_machine = 1;
  int rank_on_machine = 0;  // among them: the number of the GPU that this rank uses
  int64_t max_steps = 0;    // save and leave after so many steps, as if asked to go; 0: no limit
  absl::Time leave_by = absl::InfiniteFuture();  // the same, at that time
  TestFaults faults;
};

// Collective; the same options on every rank. How the process is to end; an error is the same on
// every rank, unless the communicator itself has failed. REQUIRES: an MpiSession, all of whose
// ranks `world` has.
absl::StatusOr<ExitCode> RunGang(GangCommunicator& world, const GangRunOptions& options);

}  // namespace liquid

#endif  // LIQUID_WORKER_GANG_RUN_H_
