// The tensor-parallel side of a pass: what the verbs of model/layers.h need to know of it.
#ifndef LIQUID_MODEL_TENSOR_PARALLEL_H_
#define LIQUID_MODEL_TENSOR_PARALLEL_H_

#include "parallel/gang_communicator.h"

namespace liquid {

// The residual stream and its norms are on every rank, or, with sequence parallelism, each rank has
// its share of the tokens, so that their memory shrinks too and the traffic stays the same.
// Source: Korthikanti et al. 2022, arXiv:2205.05198, section 4.2.
struct TensorParallel {
  GangCommunicator* group = nullptr;  // the ranks of one replica; null: the model is not spread
  bool sequence = true;               // sequence parallelism
  int num_replicas = 1;               // ranks that hold the same weights, and own a slice each

  int rank() const { return group == nullptr ? 0 : group->rank(); }
  int size() const { return group == nullptr ? 1 : group->size(); }
  bool splits_sequence() const { return size() > 1 && sequence; }
};

}  // namespace liquid

#endif  // LIQUID_MODEL_TENSOR_PARALLEL_H_
