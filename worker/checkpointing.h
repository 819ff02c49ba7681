// Saving and loading a TrainState by all ranks of a gang (the format is checkpoint/'s). A save
// works from a copy of the state, beside training.
#ifndef LIQUID_WORKER_CHECKPOINTING_H_
#define LIQUID_WORKER_CHECKPOINTING_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "checkpoint/manifest.h"
#include "checkpoint/plan.h"
#include "checkpoint/reader.h"
#include "checkpoint/write_assignment.h"
#include "data/epoch_order.h"
#include "parallel/communicator.h"
#include "proto/coordinator.pb.h"
#include "proto/job.pb.h"
#include "worker/background_task.h"
#include "worker/checkpoint_save.h"
#include "worker/state_snapshot.h"
#include "worker/train_state.h"

namespace liquid {

struct SaveResult {
  CheckpointReport report;
  absl::Status failure;  // why nothing was saved; the checkpoints from before are as they were
  absl::Duration stall;  // that training stood still for it
};

class Checkpointing {
 public:
  // Saves under OUTPUT/checkpoints, with config.json and tokenizer files of the job's model.
  // `origin`: what does not change with the steps: job, digests, version, seed. All references must
  // outlive this.
  Checkpointing(const Job& job, const JobStream& stream, const TrainingState& origin,
                Communicator& world)
      : job_(job), stream_(stream), origin_(origin), world_(world) {}

  // Collective. Loads the checkpoint that the job is to go on from: resume auto: the newest whole
  // one of at most `committed_step` (the ledger knows no later state), if there is any (damaged
  // ones are named in the log and passed over); a directory: that one; never: none. Its name, or
  // empty if training begins at step 0. NotFound: a directory was asked for that is none. DataLoss:
  // that one is damaged. FailedPrecondition: it is of another job or data set.
  absl::StatusOr<std::string> Restore(int64_t committed_step, TrainState& state);
  // What Restore loaded, as if it had just been saved; nothing if it loaded nothing.
  const std::optional<CheckpointReport>& restored() const { return restored_; }

  // Makes `latest` lead to what Restore loaded: the job goes on from there.
  void PointLatestAtRestored() const;

  // Of the ledger's newest entry when the gang joined.
  void set_ledger_head(const std::string& hash) { origin_.ledger_head = hash; }

  // What the state came to on the eval data: a checkpoint of the same step says so.
  void SetEvaluation(const EvalReport& report) { evaluated_ = report; }

  // Collective, before the first Begin. Finds out who holds what of `state`, names this gang as a
  // writer, and gets memory for the snapshot in the background. The state stays where it is in
  // memory. Internal: the ranks do not hold it all.
  absl::Status Prepare(const TrainState& state);
  int64_t snapshot_bytes() const { return snapshot_->num_bytes(); }  // REQUIRES: Prepare

  // --- A save. There is one at a time.

  // Collective. Copies the state and begins to write the copy; false if the newest checkpoint is
  // already of this step, or no step has been made. REQUIRES: !is_saving(), Prepare(state).
  absl::StatusOr<bool> Begin(const TrainState& state);
  bool is_saving() const { return save_ != nullptr; }
  int64_t saving_step() const { return save_->step(); }  // REQUIRES: is_saving()
  bool is_committed() const { return is_committed_; }
  // The ledger has the step that is being saved, on this course of the run: it may be published.
  // Told to all ranks at the same point of their program.
  void SetCommitted() { is_committed_ = true; }

  // What this rank's part of the save has come to; nothing if it is at work. When every rank has
  // something, and has heard so, all of them call Advance with the first error of any.
  std::optional<absl::Status> Poll();
  // Collective. What the save came to, once it is over. The error is a broken gang.
  absl::StatusOr<std::optional<SaveResult>> Advance(const absl::Status& all);
  // Collective. Waits for the save's end. Unless SetCommitted was called, `may_publish` is called
  // on rank 0 when all is written. If it says Aborted, so does the result, and the save goes on;
  // with another error nothing is published. REQUIRES: is_saving(). The error is a broken gang.
  absl::StatusOr<SaveResult> Finish(const std::function<absl::Status()>& may_publish);
  // Collective. Breaks the save off, if there is one; nothing is left of it.
  void Abandon() { save_.reset(); }

 private:
  absl::StatusOr<CheckpointReader> Load(const std::string& directory,
                                        const TrainState& state) const;
  SaveResult TakeResult();

  const Job& job_;
  const JobStream& stream_;
  TrainingState origin_;
  Communicator& world_;
  std::optional<CheckpointReport> restored_;
  int64_t saved_step_ = 0;  // of the newest checkpoint; 0: none
  EvalReport evaluated_;    // the latest

  // Made by Prepare.
  std::vector<HeldPart> parts_;
  std::string writer_;
  CheckpointPlan plan_;
  WriteAssignment assignment_;
  std::optional<StateSnapshot> snapshot_;
  BackgroundTask allocation_;  // of the snapshot's memory

  std::unique_ptr<CheckpointSave> save_;  // in flight
  bool is_committed_ = false;             // its step
  absl::Time begin_;                      // of it
  absl::Duration stall_;                  // of training, for it
};

}  // namespace liquid

#endif  // LIQUID_WORKER_CHECKPOINTING_H_
