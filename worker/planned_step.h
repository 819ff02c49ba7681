// A step of a job on one rank, run on the plan backend: what it takes, known without doing it.
#ifndef LIQUID_WORKER_PLANNED_STEP_H_
#define LIQUID_WORKER_PLANNED_STEP_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "kernels/plan/op_call.h"
#include "kernels/plan/workspace.h"
#include "model/model_config.h"
#include "parallel/plan/plan_communicator.h"
#include "proto/job.pb.h"
#include "worker/memory_plan.h"

namespace liquid {

// Which rank of which gang, on what.
struct PlannedRank {
  int rank = 0;
  int num_ranks = 1;  // of the gang, a multiple of model.tensor_parallel
  WorkspaceRules machine = {};
  bool has_others = false;  // there are other gangs
};

struct PlannedStep {
  MemoryPlan memory;
  // What the pools ask of the device: for weights, sums, optimizer state and tables; and for
  // activations. They are parts of `memory`.
  int64_t state_bytes = 0;
  int64_t activation_bytes = 0;
  int64_t num_parameters = 0;      // that train, of the whole model
  int64_t num_all_parameters = 0;  // with those that do not

  OpCounts slot;                // one slot: forward, backward, its gradients added up
  OpCounts update;              // once a step: norm, AdamW
  CollectiveCounts slot_calls;  // between ranks, in each slot
  CollectiveCounts step_calls;  // between ranks, once a step
  int64_t num_rounds = 0;       // slots of a replica, one after another
  double model_flops = 0;       // of a slot, by the whole replica: TrainingFlops
  int64_t slot_tokens = 0;
  int64_t fingerprint_bytes = 0;  // of weights, that this rank hashes after each step
};

// What rank `rank` does in a step of `job`, whose rows have data.sequence_length tokens of one
// document, all scored: the worst case. The code is that of a worker: model, sums, state.
// InvalidArgument if the job cannot run like that: as GangMesh::Create and CreateJobModel.
absl::StatusOr<PlannedStep> PlanStep(const Job& job, const ModelConfig& config,
                                     const PlannedRank& rank);

}  // namespace liquid

#endif  // LIQUID_WORKER_PLANNED_STEP_H_
