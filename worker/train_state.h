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
#include "parallel/gang_mesh.h"
#include "tensor/pool.h"

namespace liquid {

// On every rank of a gang: its part of the weights, and of the moments of that part the slice that
// it owns among the replicas (model.layout()). Source: Rajbhandari et al. 2019, arXiv:1910.02054,
// section 5.1 (the optimizer state is partitioned).
struct TrainState {
  // Moments zero. The arguments must outlive the state.
  TrainState(Model& m, const GangMesh& g, Ops& o, TensorPool& pool);

  // Zero moments and no steps, as in the beginning; the weights are left as they are.
  void Reset();

  Model& model;
  const GangMesh& mesh;
  Ops& ops;
  PooledTensor exp_avg;                                // AdamW's first moment, [slice_size()]
  PooledTensor exp_avg_sq;                             // the second
  int64_t applied_step = 0;                            // updates that have been applied
  std::string fingerprint;                             // of the weights, 32 hexadecimal digits
  const std::vector<FingerprintKey> fingerprint_keys;  // by parameter
};

// How a checkpoint names and shapes a parameter.
TensorSpec SpecOf(const Parameter& parameter);

// Collective in the gang. Every rank has the weights of all slices of its part, which each replica
// has updated one of.
absl::Status GatherWeights(TrainState& state);

// The hash of this rank's part of `parameter` at `data`, by all threads: the XOR over all parts is
// the fingerprint of the whole tensor.
Hash128 HashPart(const FingerprintKey& key, const Parameter& parameter, const void* data);

// Collective in the gang. Sets state.fingerprint (checkpoint/fingerprint.h); each rank hashes a
// share.
absl::Status UpdateFingerprint(TrainState& state);

}  // namespace liquid

#endif  // LIQUID_WORKER_TRAIN_STATE_H_
