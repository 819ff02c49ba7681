// What a job would take on some machines, and what would be the best way to run it there.
#ifndef LIQUID_WORKER_JOB_PLAN_H_
#define LIQUID_WORKER_JOB_PLAN_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "model/model_config.h"
#include "proto/job.pb.h"
#include "worker/machine_model.h"
#include "worker/planned_step.h"

namespace liquid {

// One way to run a job on a number of ranks.
struct PlanOption {
  int tensor_parallel = 1;
  int num_replicas = 1;
  std::string recompute;
  absl::Status status;  // not OK: why the model cannot be spread like that; the rest is not set
  PlannedStep step;     // of rank 0, which has the most
  StepTime time;
  double tokens_per_second = 0;  // of all ranks, padding counted
  bool fits = true;              // in a device's memory, as far as that is known
};

// How long the job is, and how that is known.
struct JobLength {
  int64_t num_rows = 0;  // of an epoch
  int64_t num_steps = 0;
  std::string source;
};

struct JobPlan {
  Cluster cluster;
  std::string model_family;
  PlanOption chosen;                // as the job says
  std::vector<PlanOption> options;  // every TP x replicas x recompute: those that fit first,
                                    // fastest first; those that cannot be last
  absl::StatusOr<JobLength> length = absl::UnknownError("");  // else why it is not known
  std::string advice;  // the smallest change that fits, if the job does not fit
};

// Of one gang that has all devices of `cluster`. Of the model its config.json is enough, of the
// data nothing need be there. Measures this machine if the cluster is of CPUs. InvalidArgument and
// NotFound name what of the job cannot be.
absl::StatusOr<JobPlan> PlanJob(const Job& job, const Cluster& cluster);

// The machine that `cluster` stands for: rules of the CPUs here, or of GPUs.
WorkspaceRules RulesOf(const Cluster& cluster);

// The change of `job` that keeps most of it and lets a rank do with `memory_bytes`, with what it
// takes then: "training.rows_per_slot: 2 would fit (61.2 GB)". What to do if none is enough.
std::string SmallestChange(const Job& job, const ModelConfig& config, const PlannedRank& rank,
                           double memory_bytes);

// "weights 29.9 GB + gradient sums 59.7 GB + ... = 91.2 GB".
std::string MemorySum(const MemoryPlan& memory);

}  // namespace liquid

#endif  // LIQUID_WORKER_JOB_PLAN_H_
