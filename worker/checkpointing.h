// Saving and loading a TrainState by all ranks of a gang (the format is checkpoint/'s).
#ifndef LIQUID_WORKER_CHECKPOINTING_H_
#define LIQUID_WORKER_CHECKPOINTING_H_

#include <functional>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "checkpoint/manifest.h"
#include "checkpoint/plan.h"
#include "checkpoint/reader.h"
#include "data/epoch_order.h"
#include "parallel/communicator.h"
#include "proto/coordinator.pb.h"
#include "proto/job.pb.h"
#include "worker/train_state.h"

namespace liquid {

struct SaveResult {
  CheckpointReport report;
  absl::Status failure;  // why nothing was saved; the checkpoints from before are as they were
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

  // Of the ledger's newest entry when the gang joined.
  void set_ledger_head(const std::string& hash) { origin_.ledger_head = hash; }

  // Collective. Nothing if the newest checkpoint already is of this step, or no step has been made.
  // `may_publish` is called on rank 0 when all is written; unless it returns OK nothing is
  // published. The error is a broken gang; a save that failed is in the result, on every rank.
  absl::StatusOr<std::optional<SaveResult>> Save(const TrainState& state,
                                                 const std::function<absl::Status()>& may_publish);

 private:
  void PointLatest(int64_t step) const;
  absl::StatusOr<CheckpointReader> Load(const std::string& directory,
                                        const TrainState& state) const;
  absl::StatusOr<CheckpointReport> WriteAndCommit(const TrainState& state,
                                                  const std::function<absl::Status()>& may_publish);

  const Job& job_;
  const JobStream& stream_;
  TrainingState origin_;
  Communicator& world_;
  std::optional<CheckpointReport> restored_;
  int64_t saved_step_ = 0;              // of the newest checkpoint; 0: none
  std::optional<CheckpointPlan> plan_;  // made at the first save
};

}  // namespace liquid

#endif  // LIQUID_WORKER_CHECKPOINTING_H_
