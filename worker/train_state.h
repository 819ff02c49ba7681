// What training changes, and a checkpoint keeps: weights, moments, and how far it has come.
//
// A bf16 model computes with weights that are rounded from fp32 ones, the master weights, which the
// optimizer updates: between steps the weights are the master weights rounded.
#ifndef LIQUID_WORKER_TRAIN_STATE_H_
#define LIQUID_WORKER_TRAIN_STATE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "base/hash.h"
#include "checkpoint/fingerprint.h"
#include "kernels/ops.h"
#include "model/model.h"
#include "parallel/gang_mesh.h"
#include "tensor/pool.h"
#include "worker/state_mirror.h"

namespace liquid {

// What one thread hashes at a time of this rank's part of a parameter: about 2 MB.
struct HashTask {
  struct Run {
    int64_t begin;   // element of the whole tensor
    int64_t offset;  // of the same element in the part
    int64_t count;
  };
  std::vector<Run> runs;
};

// On every rank of a gang: its part of the weights, and of the moments of that part the slice that
// it owns among the replicas (model.layout()). Source: Rajbhandari et al. 2019, arXiv:1910.02054,
// section 5.1 (the optimizer state is partitioned).
struct TrainState {
  // Reset() is to follow when the model's weights are set. The arguments must outlive the state.
  TrainState(Model& m, const GangMesh& g, Ops& o, TensorPool& pool);

  // Zero moments and no steps, as in the beginning; from the model's weights, which it leaves as
  // they are.
  void Reset();

  // The weights of this rank's slice (kF32, [slice_size()]) that the optimizer updates: the model's
  // own, or master_weights.
  TensorView own_weights() const;

  Model& model;
  const GangMesh& mesh;
  Ops& ops;
  PooledTensor master_weights;  // kF32, [slice_size()]; none: fp32 model
  PooledTensor exp_avg;         // AdamW's first moment, [slice_size()]
  PooledTensor exp_avg_sq;      // the second
  int64_t applied_step = 0;     // updates that have been applied
  std::string fingerprint;      // of the weights, 32 hexadecimal digits
  Hash128 frozen_hash;          // this rank's share of the part of it that no step changes
  // The tensors above, and the model's weights.
  const StateMirror on_host;
  HostCopy gradient_on_host;  // the one that is hashed
  // By parameter.
  const std::vector<FingerprintKey> fingerprint_keys;
  const std::vector<FingerprintKey> gradient_keys;  // gradients are kF32
  const std::vector<std::vector<HashTask>> hash_tasks;
};

// How a checkpoint names and shapes a parameter.
TensorSpec SpecOf(const Parameter& parameter);

// Collective in the gang. Every rank has the weights of all slices of its part, which each replica
// has updated one of, rounded if there are master weights.
absl::Status GatherWeights(TrainState& state);

// The hash of this rank's part of the gradient of parameter `index`, by all threads: the XOR over
// all parts is the fingerprint of the whole tensor.
Hash128 HashGradient(TrainState& state, int index, ConstTensorView gradient);
// The digest of what a replica computed, from what each rank of the gang says of its part.
std::string DigestOfReplica(absl::Span<const std::string> of_ranks, int64_t replica,
                            int64_t tensor_size);

// Collective in the gang. Sets state.fingerprint (checkpoint/fingerprint.h); each rank hashes a
// share.
absl::Status UpdateFingerprint(TrainState& state);
// The same if nothing but a step has changed the weights since: frozen ones are not hashed again.
absl::Status UpdateFingerprintAfterStep(TrainState& state);

}  // namespace liquid

#endif  // LIQUID_WORKER_TRAIN_STATE_H_
