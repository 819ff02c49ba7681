// A gang at work: it obeys the coordinator's orders until the job is done or it has to go.
#ifndef LIQUID_WORKER_TRAINER_H_
#define LIQUID_WORKER_TRAINER_H_

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/coordinator.pb.h"
#include "worker/checkpointing.h"
#include "worker/evaluation.h"
#include "worker/gang_member.h"
#include "worker/progress.h"
#include "worker/train_state.h"
#include "worker/train_step.h"

namespace liquid {

class Trainer {
 public:
  // Everything must outlive this. `evaluation` may be null: there is nothing to evaluate on. After
  // `max_steps` steps (0: no limit) the gang leaves as if it had been asked to.
  Trainer(GangMember& gang, TrainState& state, TrainStep& step, Evaluation* evaluation,
          Checkpointing& checkpointing, Progress& progress, int64_t max_steps)
      : gang_(gang),
        state_(state),
        step_(step),
        evaluation_(evaluation),
        checkpointing_(checkpointing),
        progress_(progress),
        max_steps_(max_steps) {}

  // Collective. Why the gang left. Whenever it is not through a failed step, the state is saved
  // first. Errors: those of TrainStep::Run; Unavailable if the coordinator is gone.
  absl::StatusOr<Leave::Reason> Run();

 private:
  absl::StatusOr<bool> Obey(const Order& order, Leave::Reason* reason);
  absl::StatusOr<bool> ObeyPlan(const Plan& plan, Leave::Reason* reason);
  absl::Status Evaluate();
  absl::Status SaveAndGoOn();        // a failed save is reported, no more
  absl::Status SaveBeforeLeaving();  // a failed save is the error
  absl::StatusOr<std::optional<SaveResult>> Save();

  GangMember& gang_;
  TrainState& state_;
  TrainStep& step_;
  Evaluation* const evaluation_;
  Checkpointing& checkpointing_;
  Progress& progress_;
  const int64_t max_steps_;
  int64_t num_steps_ = 0;   // made so far
  int64_t generation_ = 0;  // of the latest order
};

}  // namespace liquid

#endif  // LIQUID_WORKER_TRAINER_H_
