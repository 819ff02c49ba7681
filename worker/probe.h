// A slot that every gang computes alike before it may contribute, so that a machine which comes to
// other bits is refused and not found out later.
#ifndef LIQUID_WORKER_PROBE_H_
#define LIQUID_WORKER_PROBE_H_

#include <string>

#include "absl/status/statusor.h"
#include "data/dataset.h"
#include "proto/job.pb.h"
#include "worker/train_state.h"

namespace liquid {

// Collective. Digest of the gradient of a slot of made-up tokens, of the job's shape, at weights
// made from a fixed seed. It overwrites the weights. FailedPrecondition if the replicas of the gang
// differ, naming the first.
absl::StatusOr<std::string> ProbeDigest(const Job& job, const Dataset& dataset, TrainState& state);

}  // namespace liquid

#endif  // LIQUID_WORKER_PROBE_H_
