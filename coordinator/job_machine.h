// The coordinator's decisions: which gang does what, when a checkpoint is due, who is refused.
//
// Pure: (state, event, now) -> (state, actions). No clock, no files, no threads. Whoever drives it
// (job_driver.h) carries the actions out in their order; an order may leave only after the entries
// before it are on disk. The durable part of the state is a JobRecord, rebuilt from the ledger.
//
// Version 1: one gang at a time.
#ifndef LIQUID_COORDINATOR_JOB_MACHINE_H_
#define LIQUID_COORDINATOR_JOB_MACHINE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "coordinator/job_record.h"
#include "proto/coordinator.pb.h"
#include "proto/job.pb.h"
#include "proto/ledger.pb.h"

namespace liquid {

struct Action {
  enum class Kind {
    kAppend,  // `entry` to the ledger; its number and time are for the ledger to fill in
    kSend,    // `order` to `gang`; a welcome's ledger_head is for the driver to fill in
    kClose,   // end the stream of `gang` with `status`
    kWarn,    // tell people `text`
  };
  Kind kind;
  LedgerEntry entry{};
  int64_t gang = 0;
  Order order{};
  absl::Status status{};
  std::string text{};
};
using Actions = std::vector<Action>;

enum class Verb { kPause, kResume, kCheckpointNow, kStop };

// A value. One thread at a time. `now` never goes back.
class JobMachine {
 public:
  struct Options {
    Job job;
    int lease_window = 2;  // plans a gang holds beyond the committed step
  };
  // `record`: what the ledger says, of this very job if it says anything.
  JobMachine(Options options, JobRecord record);

  // Once, before all other events. Gangs that the ledger knows have no stream here: they are gone.
  void Start(absl::Time now, Actions* actions);

  // A gang asks in. Its number, or FailedPrecondition with the two values that disagree; then
  // nothing changes. On success the actions hold its welcome and first plans. If the job is done,
  // the gang is welcomed and told to stop.
  absl::StatusOr<int64_t> OnJoin(const Join& join, absl::Time now, Actions* actions);

  // Any other message of a gang. One that breaks the protocol ends the gang's stream; one from a
  // gang that is none any more is ignored.
  void OnMessage(int64_t gang, const GangMessage& message, absl::Time now, Actions* actions);

  // The stream of `gang` broke. Nothing happens if the gang is gone already.
  void OnDisconnected(int64_t gang, absl::Time now, Actions* actions);

  // To be called several times within the heartbeat timeout.
  void OnTick(absl::Time now, Actions* actions);

  // A person's wish. One line of answer, or FailedPrecondition when the state does not allow it.
  absl::StatusOr<std::string> OnVerb(Verb verb, const std::string& who, absl::Time now,
                                     Actions* actions);

  JobState state() const;
  // Nobody works, and nobody is expected to: done, failed or stopped.
  bool has_ended() const;
  JobStatus status() const;  // without `coordinator`
  const JobRecord& record() const { return record_; }

 private:
  struct Gang {
    GangStatus status;
    int64_t leased_step = 0;  // plans were sent up to it
    absl::Time last_heard;
    bool is_leaving = false;  // was told to stop
  };

  void Record(LedgerEntry entry, Actions* actions);
  void Send(int64_t gang, Order order, Actions* actions) const;
  Gang* FindGang(int64_t gang);

  void ChangeGeneration(const std::string& reason, Actions* actions);
  void RemoveGang(int64_t gang, const std::string& reason, Actions* actions);
  void Close(int64_t gang, const absl::Status& status, Actions* actions);
  void Fail(const std::string& error, const absl::Status& status, Actions* actions);
  void FinishIfComplete(Actions* actions);

  void LeaseAhead(absl::Time now, Actions* actions);
  Plan MakePlan(int64_t step, absl::Time now);
  bool CheckpointIsDue(int64_t step, absl::Time now) const;
  void SendStop(Gang* gang, const std::string& reason, Actions* actions) const;

  void OnStep(Gang* gang, const StepReport& report, Actions* actions);
  absl::Status CheckReport(const Gang& gang, const StepReport& report) const;
  void OnCheckpoint(Gang* gang, const CheckpointReport& report, Actions* actions);
  void OnEval(Gang* gang, const EvalReport& report, Actions* actions);
  void OnLeave(int64_t gang, const Leave& leave, Actions* actions);

  Options options_;
  std::string job_digest_;
  JobRecord record_;
  std::vector<Gang> gangs_;
  bool is_stopped_ = false;  // by a person; until the next gang
  absl::Time last_checkpoint_time_;
  double step_seconds_ = 0;  // running average; 0: unknown
};

}  // namespace liquid

#endif  // LIQUID_COORDINATOR_JOB_MACHINE_H_
