// What a rank holds of the state that checkpoints keep: the one place that knows how the gang's
// layout places tensors on ranks.
#ifndef LIQUID_WORKER_HELD_STATE_H_
#define LIQUID_WORKER_HELD_STATE_H_

#include <vector>

#include "checkpoint/safetensors.h"
#include "checkpoint/tensor_box.h"
#include "worker/train_state.h"

namespace liquid {

struct HeldState {
  // Whole tensors, as they are in the files, on any rank of any layout.
  std::vector<TensorSpec> model;
  std::vector<TensorSpec> optimizer;  // torch's names for AdamW's: exp_avg.NAME, exp_avg_sq.NAME;
                                      // and master.NAME if there are master weights. Of what
                                      // is trained alone
  // What this rank has of them, as the host sees it (state.on_host). Over all ranks of the gang,
  // parts of one tensor are equal (replicas) or disjoint, and cover it.
  std::vector<HeldPart> parts;
};

HeldState HeldStateOf(const TrainState& state);

}  // namespace liquid

#endif  // LIQUID_WORKER_HELD_STATE_H_
