// One step of training: the order of everything that happens in it is here and nowhere else.
#ifndef LIQUID_WORKER_TRAIN_STEP_H_
#define LIQUID_WORKER_TRAIN_STEP_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "data/dataset.h"
#include "data/epoch_order.h"
#include "parallel/gang_mesh.h"
#include "parallel/gradient_sum.h"
#include "proto/coordinator.pb.h"
#include "proto/job.pb.h"
#include "worker/slot_reader.h"
#include "worker/step_slots.h"
#include "worker/test_faults.h"
#include "worker/train_state.h"

namespace liquid {

// The slots of the lease, the reduction over ranks and gangs, and the update. After it every rank
// of every gang holds the same weights: a function of the step's number and the state before it
// alone (gradient_sum exact), however the slots were split.
//
// Take, then ComputeRound until nothing is left, then Finish. Whatever happens between, the slots
// that are done stay done, for another plan of the same step.
class TrainStep {
 public:
  // Everything must outlive this. `peak_flops` of all ranks; 0: unknown.
  TrainStep(const Job& job, const JobStream& stream, const Dataset& dataset, TrainState& state,
            Ops& ops, Stream& device_stream, TensorPool& pool, double peak_flops,
            TestFaults faults = {});

  // The plan of step state.applied_step + 1, or another one of it. InvalidArgument if it cannot be
  // carried out, the same on every rank.
  absl::Status Take(const Plan& plan);
  const StepSlots& slots() const { return slots_; }
  SlotRanges GiveBack(int64_t step, const SlotRanges& ranges);
  // Drops everything that was done of a step.
  void Forget();

  // Collective. One slot on each replica, as far as there are any left.
  absl::Status ComputeRound();
  double slots_per_second() const;  // in this step, by this gang

  // Collective. The digest of the gradient of `slot` of `step`, which is the one after the state.
  // The slot is added to nothing.
  absl::StatusOr<std::string> Audit(int64_t step, int slot);

  // Collective. Reduces and updates. `rail`: this rank's place among several gangs, null if there
  // is one. Nothing if the exchange with other gangs failed: the state and what was done are as
  // before. OutOfRange if the loss or a gradient is not finite and the job says stop (names the
  // step and its rows; the state is as before). Unavailable if a rank is gone.
  absl::StatusOr<std::optional<StepReport>> Finish(const Rail* rail);
  const absl::Status& exchange_failure() const { return exchange_failure_; }

 private:
  // What a replica does with its gradients in a round of the gang.
  struct Round {
    bool folds = false;    // some replica adds up its slot's
    bool is_last = false;  // nothing is left, so that the reduction can begin beside the backward
  };
  void FlipBit(const ConstTensorView& gradient);
  void ComputeSlot(const StepSlots::Task& task, const Round& round, std::string* digest);
  // null: this replica has none.
  void Fold(const Round& round, int index, const ConstTensorView* gradient);
  void FoldNothing(const Round& round);
  StepReport BeginReport() const;
  absl::StatusOr<bool> Reduce(const Rail* rail);
  absl::StatusOr<std::string> BadRowsOfAll(const Rail* rail);
  absl::StatusOr<bool> MayUpdate(const std::string& bad_rows, StepReport* report);
  absl::Status Stop(const std::string& why);
  void CompleteReport(StepReport* report) const;
  absl::Status WaitForRanks() const;
  absl::StatusOr<double> GradientNorm();
  void Update(const StepReport& report);
  void SetTargets(int64_t step);
  absl::Span<const uint64_t> RowKeys(int slot);

  const Job& job_;
  const JobStream& job_stream_;
  const Dataset& dataset_;
  TrainState& state_;
  Ops& ops_;
  Stream& device_stream_;
  TensorPool& pool_;
  const GangMesh& mesh_;
  Communicator& world_;  // all ranks of the gang
  const double peak_flops_;
  const TestFaults faults_;
  const Recompute recompute_;
  GradientSum gradient_sum_;
  SlotReader reader_;
  StepSlots slots_;
  Plan plan_;  // of the step at hand
  // Of the step at hand: targets, and the sum of their weights, which is their number unless some
  // have others.
  int64_t target_tokens_ = 0;
  double target_weight_ = 0;
  absl::Status exchange_failure_;
  std::vector<float> nll_;           // of one slot
  std::vector<uint64_t> row_keys_;   // of one slot
  PooledTensor norm_chunks_;         // kF64: by chunk of the layout
  std::vector<double> host_chunks_;  // the same, in host memory
  std::vector<int64_t> bad_rows_;    // of this rank: rows of slots whose loss is not finite
  int64_t num_slots_ = 0;            // computed by this rank, ever: for faults_
  absl::Time begin_;                 // of the step at hand
  absl::Time idle_since_;            // its last slot was done
  absl::Duration compute_time_;
  absl::Duration data_time_;
  absl::Duration comm_time_;
};

}  // namespace liquid

#endif  // LIQUID_WORKER_TRAIN_STEP_H_
