// What training changes, and a checkpoint keeps: weights, moments, and how far it has come.
#ifndef LIQUID_WORKER_TRAIN_STATE_H_
#define LIQUID_WORKER_TRAIN_STATE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "checkpoint/fingerprint.h"
#include "kernels/ops.h"
#include "model/model.h"
#include "parallel/communicator.h"
#include "tensor/pool.h"

namespace liquid {

struct TrainState {
  // Moments of `m`'s parameters, zero. The arguments must outlive the state.
  TrainState(Model& m, Ops& o, TensorPool& pool);

  // Zero moments and no steps, as in the beginning; the weights are left as they are.
  void Reset();

  Model& model;
  Ops& ops;
  std::vector<PooledTensor> exp_avg;                   // AdamW's first moment, by parameter
  std::vector<PooledTensor> exp_avg_sq;                // the second
  int64_t applied_step = 0;                            // updates that have been applied
  std::string fingerprint;                             // of the weights, 32 hexadecimal digits
  const std::vector<FingerprintKey> fingerprint_keys;  // by parameter
};

// How a checkpoint names and shapes a parameter.
TensorSpec SpecOf(const Parameter& parameter);

// The fingerprint of a whole tensor at `data`, by all threads.
Hash128 HashTensor(const FingerprintKey& key, const void* data);

// Collective. Sets state.fingerprint (checkpoint/fingerprint.h); each rank hashes a share.
absl::Status UpdateFingerprint(TrainState& state, Communicator& world);

}  // namespace liquid

#endif  // LIQUID_WORKER_TRAIN_STATE_H_
