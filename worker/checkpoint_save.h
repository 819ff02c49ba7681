// One save of a checkpoint by all ranks of a gang, beside training: from a snapshot to `latest`.
#ifndef LIQUID_WORKER_CHECKPOINT_SAVE_H_
#define LIQUID_WORKER_CHECKPOINT_SAVE_H_

#include <atomic>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "checkpoint/writer.h"
#include "parallel/communicator.h"
#include "worker/background_task.h"
#include "worker/state_snapshot.h"

namespace liquid {

// Goes through its phases, each of which every rank does in the background. All ranks enter the
// next one at the same point of their program (Advance), when they know of each other that the one
// before is done. What a phase does on one rank only is nothing on the others.
class CheckpointSave {
 public:
  struct Request {
    std::string root;
    TrainingState state;
    std::vector<CompanionFile> companions;
    Retention retention;
    std::string writer;  // CheckpointWriter's
  };
  // Begins. Everything must outlive this; the snapshot must stay as it is. `ready`: why this rank
  // cannot take part; the save fails then.
  CheckpointSave(const CheckpointPlan& plan, const WriteAssignment& assignment,
                 const StateSnapshot& snapshot, Communicator& world, Request request,
                 absl::Status ready);
  // Breaks off what is at work. Unless it is over, nothing is left of it (on rank 0: the temporary
  // directory).
  ~CheckpointSave();

  int64_t step() const { return request_.state.step; }
  // How the phase ended on this rank; nothing while it is at work.
  std::optional<absl::Status> Poll() { return task_.Poll(); }
  absl::Status Wait() { return task_.Wait(); }
  // All is on disk; the name is still to be given. The next Advance that may publish does.
  bool is_written() const { return phase_ == Phase::kWritten; }

  // Collective, when the phase has ended on all ranks: `all` is the first error of any. Whether the
  // save is over; then result() says how. The error is a broken gang.
  absl::StatusOr<bool> Advance(const absl::Status& all, bool may_publish);
  // On all ranks the error, or OK; on rank 0 also what was published.
  const absl::StatusOr<CommittedCheckpoint>& result() const { return result_; }

 private:
  enum class Phase { kPreparing, kWriting, kHashing, kWritten, kPublishing, kOver };

  void Enter(Phase phase);
  absl::Status Work(Phase phase);
  void End(const absl::Status& all);

  const WriteAssignment& assignment_;
  const StateSnapshot& snapshot_;
  Communicator& world_;
  const Request request_;
  const absl::Status ready_;
  CheckpointWriter writer_;
  Phase phase_ = Phase::kPreparing;
  std::vector<PieceChecksum> checksums_;  // this rank's; on publishing all ranks'
  std::atomic<bool> stop_ = false;
  absl::StatusOr<CommittedCheckpoint> result_ = CommittedCheckpoint();
  BackgroundTask task_;  // last: it uses all others
};

}  // namespace liquid

#endif  // LIQUID_WORKER_CHECKPOINT_SAVE_H_
