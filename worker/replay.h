// Steps done once more, to compare with what the ledger says of them.
#ifndef LIQUID_WORKER_REPLAY_H_
#define LIQUID_WORKER_REPLAY_H_

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "parallel/gang_communicator.h"
#include "proto/job.pb.h"

namespace liquid {

struct ReplayOptions {
  Job job;
  std::string job_digest;
  std::string from;  // directory of a checkpoint; "start": the weights of step 0
  int64_t to_step = 0;
  // What the ledger has as the fingerprint of the weights after a step; asked on rank 0 only.
  std::function<absl::StatusOr<std::string>(int64_t step)> fingerprint_of;
  int ranks_on_machine = 1;
  int rank_on_machine = 0;
};

// Collective. Writes one line a step to stdout, and nothing to the job's directory but prepared
// data that is missing there. DataLoss, naming the step and both fingerprints, at the first that
// differs.
absl::Status Replay(GangCommunicator& world, const ReplayOptions& options);

}  // namespace liquid

#endif  // LIQUID_WORKER_REPLAY_H_
