// The coordinator's decisions: who is in the job, which gang does which slots, what is committed,
// when a checkpoint is due, who is refused (docs/PROTOCOL.md).
//
// Pure: (state, event, now) -> (state, actions). No clock, no files, no threads. Whoever drives it
// (job_driver.h) carries the actions out in their order; an order may leave only after the entries
// before it are on disk. The durable part of the state is a JobRecord, rebuilt from the ledger.
//
// Sources: job_machine.cc (events, joining), job_people.cc, job_end.cc (ending, leaving),
// job_regroup.cc (generations), job_lease.cc (leases, steals), job_hedge.cc (gangs that are stuck),
// job_commit.cc (reports, commits, verdicts).
#ifndef LIQUID_COORDINATOR_JOB_MACHINE_H_
#define LIQUID_COORDINATOR_JOB_MACHINE_H_

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "coordinator/job_action.h"
#include "coordinator/job_record.h"
#include "coordinator/membership.h"
#include "coordinator/reachability.h"
#include "coordinator/slot_audit.h"
#include "coordinator/step_reports.h"
#include "proto/job.pb.h"

namespace liquid {

// A value. One thread at a time. `now` never goes back.
class JobMachine {
 public:
  struct Options {
    Job job;
    std::function<uint64_t()> random =
        nullptr;                     // tokens of generations; null: they can be guessed (tests)
    bool expects_gangs_back = true;  // those that the ledger knows at the start
  };
  // `record`: what the ledger says, of this very job if it says anything.
  JobMachine(Options options, JobRecord record);

  // Once, before all other events. Gangs that the ledger knows and that are expected back have the
  // heartbeat timeout to come: work goes on when all are here, or with those who are.
  void Start(absl::Time now, Actions* actions);

  // A gang asks in. Its number, or FailedPrecondition with the two values that disagree; then
  // nothing changes. The actions hold its welcome. A gang that is here already under that number is
  // replaced: its stream is for the driver to end. If the job is done, it is told to stop.
  absl::StatusOr<int64_t> OnJoin(const Join& join, absl::Time now, Actions* actions);

  // Any other message of a gang. One that breaks the protocol ends the gang's stream; one from a
  // gang that is none any more is ignored.
  void OnMessage(int64_t gang, const GangMessage& message, absl::Time now, Actions* actions);

  // The stream of `gang` broke. Nothing happens if the gang is gone already.
  void OnDisconnected(int64_t gang, absl::Time now, Actions* actions);

  // To be called at least ten times within the heartbeat timeout.
  void OnTick(absl::Time now, Actions* actions);

  // A person's wish. One line of answer, or FailedPrecondition when the state does not allow it.
  absl::StatusOr<std::string> OnVerb(Verb verb, const std::string& who, absl::Time now,
                                     Actions* actions);
  // That gang is to go. NotFound if it is not here.
  absl::StatusOr<std::string> OnDrain(int64_t gang, const std::string& who, absl::Time now,
                                      Actions* actions);

  JobState state() const;  // O(gangs), as status()
  // Nobody works, and nobody is expected to: done, failed or stopped.
  bool has_ended() const;
  JobStatus status() const;  // without `coordinator`
  // Grows with every change of the status that people wait for, not with speeds.
  int64_t version() const { return version_; }
  const JobRecord& record() const { return record_; }

 private:
  enum class Phase { kIdle, kGrace, kRegrouping, kSteady };
  using Departures = std::vector<std::pair<int64_t, std::string>>;  // gang, why
  struct PlannedStep {
    bool evaluate = false;
    bool checkpoint = false;
    int64_t writer = 0;
    std::map<int, int64_t> auditors;  // by slot
    std::map<int64_t, std::vector<int>> by_auditor;
  };
  struct AskedRelease {
    int64_t thief;
    int64_t step;
    SlotSet slots;
  };

  // Events.
  void Record(LedgerEntry entry, Actions* actions);
  Member* Find(int64_t gang);
  void Send(int64_t gang, SharedOrder order, Actions* actions) const;
  void Send(int64_t gang, Order order, Actions* actions) const;
  void Close(int64_t gang, const absl::Status& status, Actions* actions);
  void Violate(int64_t gang, const std::string& why, absl::Time now, Actions* actions);
  void Fail(const std::string& error, const absl::Status& status, int exit_code, Actions* actions);
  void FinishIfComplete(Actions* actions);
  void SendStop(Member* member, const std::string& reason, bool save, Actions* actions);
  void StopAll(Actions* actions);
  absl::Status CheckAdmission(const Join& join) const;
  bool NobodyIsHere() const;
  void RecordAdmission(const GangStatus& gang, Actions* actions);
  void SendWelcome(int64_t gang, Actions* actions) const;
  Member MakeMember(const Join& join, int64_t number, absl::Time now) const;
  void OnLeave(int64_t gang, const Leave& leave, absl::Time now, Actions* actions);
  void OnLeaveRequest(int64_t gang, absl::Time now, Actions* actions);
  void DrainLeavers(absl::Time now, Actions* actions);
  void StopIfAlone(const std::string& reason, Actions* actions);
  const Member* Writer() const;  // of checkpoints; null while nobody is here
  bool AllAreLeaving() const;
  bool IsDone() const {
    return record_.finished().has_value() && record_.finished()->state() == DONE;
  }

  // Generations.
  void Remove(const Departures& departures, absl::Time now, Actions* actions);
  void Forget(int64_t gang);
  void ChangeGeneration(const std::string& reason, Actions* actions);
  void BeginRegroup(const std::string& reason, int64_t after_step, absl::Time now,
                    Actions* actions);
  std::vector<int64_t> PartWithLeavers();
  bool TakeLeaversBack();
  void BeIdle();
  void EndGrace(absl::Time now, Actions* actions);
  void OnReady(int64_t gang, const Ready& ready, absl::Time now, Actions* actions);
  void OnTrouble(const Member& member, const Trouble& trouble, absl::Time now, Actions* actions);
  bool PartTheCutOff(const Member& member, const Trouble& trouble, absl::Time now,
                     Actions* actions);
  void Form(absl::Time now, Actions* actions);
  bool WeightsAreRight(absl::Time now, Actions* actions);
  int64_t NewestState() const;  // -1: nobody has one
  void OrderLoad(absl::Time now, Actions* actions);
  void AdoptState(int64_t step, Actions* actions);
  void SendWorld(int64_t step, Actions* actions);
  void SaveTheEnd(Actions* actions);
  void SaveWhatIsDue(int64_t step, Actions* actions);

  // Leases and steals.
  void LeaseAhead(absl::Time now, Actions* actions);
  void LeaseStep(int64_t step, absl::Time now, Actions* actions);
  std::map<int64_t, SlotSet> DealSlots(int64_t step);
  void ChooseKept(int64_t step);
  void ChooseAudits(int64_t step, const std::map<int64_t, SlotSet>& shares,
                    PlannedStep* planned) const;
  void MoveAudits(int64_t auditor, const SlotSet& slots, int64_t step, absl::Time now,
                  Actions* actions);
  void SendPlan(int64_t gang, int64_t step, const SlotSet* slots, Actions* actions) const;
  bool EvaluationIsDue(int64_t step) const;
  bool CheckpointIsDue(int64_t step, absl::Time now) const;
  void StartStep(absl::Time now);
  void NoteProgress(int64_t gang, Member* member, const Progress& progress, absl::Time now);
  void UpdateFinish(int64_t gang, const Member& member);
  void OnProgress(int64_t gang, const Progress& progress, absl::Time now, Actions* actions);
  void StealForIdle(absl::Time now, Actions* actions);
  bool AskForSlots(int64_t thief, int64_t victim, absl::Time now, Actions* actions);
  void OnReleased(int64_t gang, const Released& released, absl::Time now, Actions* actions);

  // Gangs that are stuck.
  struct Standstill {
    std::vector<int64_t> awaited;  // by all others
    absl::Time since;              // the last of the others was ready
  };
  std::optional<Standstill> FindStandstill() const;
  bool IsBusyOtherwise(int64_t gang, const Member& member) const;
  absl::Duration Patience(const Member& member) const;
  void GoOnWithoutTheStuck(absl::Time now, Actions* actions);
  void TakeBack(int64_t gang, absl::Time now, Actions* actions);

  // Reports, commits, verdicts.
  void OnStep(int64_t gang, const StepReport& report, absl::Time now, Actions* actions);
  absl::Status CheckReport(int64_t gang, const StepReport& report) const;
  void CommitWhatIsReported(absl::Time now, Actions* actions);
  std::optional<std::string> AgreeOn(int64_t step, absl::Time now, Actions* actions);
  void CommitStep(int64_t step, const std::string& fingerprint, Actions* actions);
  void OnCheckpoint(int64_t gang, const CheckpointReport& report, absl::Time now, Actions* actions);
  void OnEval(int64_t gang, const EvalReport& report, absl::Time now, Actions* actions);
  void OnAuditResult(int64_t gang, const AuditResult& result, absl::Time now, Actions* actions);
  void OpenDispute(int64_t gang, const AuditResult& result);
  void AdvanceDispute(int64_t step, int slot, absl::Time now, Actions* actions);
  void Judge(int64_t step, int slot, const Dispute& dispute, const std::vector<int64_t>& liars,
             absl::Time now, Actions* actions);

  Options options_;
  std::string job_digest_;
  JobRecord record_;
  std::map<int64_t, Member> gangs_;  // all that have a stream, and those that are SILENT
  Phase phase_ = Phase::kIdle;
  int64_t version_ = 0;
  int64_t last_gang_ = 0;               // highest number given
  absl::Time grace_end_;                // kGrace
  int64_t regroup_after_ = -1;          // kRegrouping: as in Regroup
  int num_awaited_ = 0;                 // kRegrouping: members that are not ready
  bool load_was_ordered_ = false;       // kRegrouping
  std::optional<absl::Time> retry_at_;  // a regroup that is put off
  int num_troubles_ = 0;                // since the last commit
  Reachability reachability_;           // the same
  int64_t formed_generation_ = 0;       // of the last World
  int num_working_ = 0;
  int64_t leased_step_ = 0;
  int64_t transfer_step_ = 0;               // the state is sent to somebody before it
  std::map<int64_t, PlannedStep> planned_;  // not committed
  StepReports reports_;
  EvalReport early_eval_;                                // of a step that is not committed yet
  std::set<std::pair<absl::Time, int64_t>> finishes_;    // expected, of those who have slots left
  std::set<int64_t> idle_;                               // have none, and may take some
  std::map<int64_t, AskedRelease> releases_;             // by victim
  std::map<std::pair<int64_t, int>, Dispute> disputes_;  // by step and slot
  std::set<std::pair<int64_t, int>> undecidable_;        // not to be audited again
  std::set<int64_t> distrusted_;  // what they hold is not kept over the regroup at hand
  std::set<int64_t> start_anew_;  // the same, of the last regroup that ended
  bool is_stopped_ = false;       // by a person; until the next gang
  std::string stop_reason_;
  std::optional<int64_t> save_wanted_;              // by a person, after this step
  std::pair<int64_t, int64_t> planned_checkpoint_;  // the newest: of which step, by which gang
  std::pair<int64_t, int64_t> answering_;  // samples, after the evaluation of which step: by whom
  absl::Time last_checkpoint_time_;
  double step_seconds_ = 0;  // running average; 0: unknown
};

}  // namespace liquid

#endif  // LIQUID_COORDINATOR_JOB_MACHINE_H_
