// A gang at work: it obeys the coordinator's orders until the job is done or it has to go.
#ifndef LIQUID_WORKER_TRAINER_H_
#define LIQUID_WORKER_TRAINER_H_

#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "proto/gang.pb.h"
#include "worker/checkpointing.h"
#include "worker/evaluation.h"
#include "worker/gang_member.h"
#include "worker/gang_world.h"
#include "worker/progress.h"
#include "worker/sample_answers.h"
#include "worker/test_faults.h"
#include "worker/train_state.h"
#include "worker/train_step.h"

namespace liquid {

// Every rank runs the same program on the same orders, so each knows what the others do. Orders are
// heard between slots: one look (GangMember::NextTick), then one piece of work.
class Trainer {
 public:
  // Everything must outlive this.
  struct Parts {
    GangMember& gang;
    GangWorld& world;
    TrainState& state;
    TrainStep& step;
    Evaluation* evaluation;  // null: there is nothing to evaluate on
    SampleAnswers* samples;  // null: none are wanted
    Checkpointing& checkpointing;
    ProgressView& progress;
    TestFaults faults;
    // Collective: the state of the newest checkpoint of at most `max_step`, or of step 0.
    std::function<absl::Status(int64_t max_step)> load_state;
    int64_t num_steps = 0;           // of the job
    int64_t max_steps = 0;           // leave after so many, as if asked to; 0: no limit
    absl::Duration leave_timeout;    // how long others are waited for when asked to go
    absl::Duration trouble_timeout;  // and in trouble, before a stop is obeyed all the same
  };
  explicit Trainer(Parts parts) : parts_(std::move(parts)) {}

  // Collective. Why the gang left. Errors: those of TrainStep::Finish; Unavailable if the
  // coordinator is gone for good.
  absl::StatusOr<Leave::Reason> Run();

 private:
  absl::StatusOr<GangMember::Tick> Look();
  ExchangeNews ListenToGangs();
  absl::Status LeaveIfAsked(const GangMember::Tick& tick);

  // One for each kind of order.
  absl::Status Obey(const Order& order);
  absl::Status ObeyLoadState(const LoadState& order);
  absl::Status ObeyWorld(const World& order);
  absl::Status ObeyPlan(const Plan& plan);
  absl::Status ObeyAudit(const AuditTask& task);
  void ObeyRegroup(const Regroup& order);
  void ObeyRelease(const Release& order);
  absl::Status ObeyLater(bool waited_enough);  // what waits for the plans before it

  void PointLatest(const World& order) const;
  absl::Status ReceiveOrSendState(const World& order);
  void GetReady();
  void SayReady();
  void ReportTrouble(const absl::Status& why, const std::set<int64_t>& unreached = {});
  void ReportProgress();
  void ReportDisagreement();

  // Work.
  bool IsExchanging() const;
  absl::Status Work(ExchangeNews news);
  absl::Status FinishStep();
  absl::Status Evaluate();

  // Saves (trainer_saves.cc). The error of a StatusOr is a broken gang.
  absl::Status AttendToSave(const GangMember::Tick& tick);
  absl::StatusOr<SaveResult> BeginSave();
  absl::StatusOr<SaveResult> FinishSave();
  absl::Status SaveAndGoOn();        // a failed save is reported, no more
  absl::Status SaveBeforeLeaving();  // a failed save is the error
  void ReportSave(const SaveResult& result);
  void TellCheckpoint(CheckpointReport report);
  void DropSave();
  void Say(const std::string& line);
  void Report(GangMessage message) { parts_.gang.Report(message); }

  Parts parts_;
  int64_t gang_ = 0;                // this gang's number
  int64_t generation_ = 0;          // the newest heard of
  int64_t world_generation_ = 0;    // of the world that this gang is, or was last, in
  std::optional<Regroup> regroup_;  // not answered yet
  std::map<int64_t, Plan> plans_;   // of steps not applied, by step
  struct Later {
    Order order;
    int64_t after_step;
  };
  std::deque<Later> later_;
  std::deque<StepReport> unsettled_;  // not known to be in the ledger
  std::optional<CheckpointReport> last_checkpoint_;
  bool is_restored_ = true;              // the state is as load_state left it
  std::optional<int64_t> put_off_save_;  // of this step, until the regroup is over
  std::optional<Leave::Reason> leaving_;
  bool asked_to_leave_ = false;
  absl::Time leave_at_ = absl::InfiniteFuture();  // even if nobody answers
  bool is_in_trouble_ = false;                    // the exchange failed; a regroup is to come
  absl::Time trouble_since_;
  bool is_announced_ = false;      // all gangs know what this one has done in the step
  bool progress_is_told_ = false;  // that nothing is left
  absl::Time last_progress_ = absl::InfinitePast();
  absl::Time paused_since_ = absl::InfiniteFuture();
  int64_t num_steps_ = 0;  // made so far
};

}  // namespace liquid

#endif  // LIQUID_WORKER_TRAINER_H_
