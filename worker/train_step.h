// One step of training: the order of everything that happens in it is here and nowhere else.
#ifndef LIQUID_WORKER_TRAIN_STEP_H_
#define LIQUID_WORKER_TRAIN_STEP_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "data/dataset.h"
#include "data/epoch_order.h"
#include "parallel/communicator.h"
#include "parallel/gradient_sum.h"
#include "proto/coordinator.pb.h"
#include "proto/job.pb.h"
#include "worker/slot_reader.h"
#include "worker/train_state.h"

namespace liquid {

// All slots of the lease, the reduction over ranks, and the update. After an OK every rank holds
// the same weights: a function of the step's number and the state before it alone (gradient_sum
// exact), however the slots were split.
class TrainStep {
 public:
  // Everything must outlive this. `peak_flops` of all ranks; 0: unknown.
  TrainStep(const Job& job, const JobStream& stream, const Dataset& dataset, TrainState& state,
            Ops& ops, Stream& device_stream, TensorPool& pool, Communicator& world,
            double peak_flops);

  // Collective. Runs step state.applied_step + 1 over the slots of `plan`, of which rank r of R
  // takes every R-th. Errors: OutOfRange if the loss or a gradient is not finite and the job says
  // stop (names the step and its rows; the state is as before); Unavailable if a peer is gone.
  absl::StatusOr<StepReport> Run(const Plan& plan);

 private:
  void ComputeSlots(const Plan& plan, double loss_scale, StepReport* report);
  absl::StatusOr<bool> MayUpdate(const Plan& plan, StepReport* report);
  double GradientNorm();
  void Update(const StepReport& report);
  int64_t TargetTokens(int64_t step) const;

  const Job& job_;
  const JobStream& job_stream_;
  const Dataset& dataset_;
  TrainState& state_;
  Ops& ops_;
  Stream& device_stream_;
  TensorPool& pool_;
  Communicator& world_;
  const double peak_flops_;
  const Recompute recompute_;
  GradientSum gradient_sum_;
  SlotReader reader_;
  std::vector<float> nll_;           // of one slot
  std::vector<double> norm_chunks_;  // of one tensor
  std::vector<int64_t> bad_rows_;    // of this rank: rows of slots whose loss is not finite
};

}  // namespace liquid

#endif  // LIQUID_WORKER_TRAIN_STEP_H_
