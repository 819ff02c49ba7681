// What a ledger says about its job, entry by entry: the whole durable state of a coordinator.
//
// The machine that runs the job (job_machine.h) changes it only by entries that go into the ledger,
// so a restart that applies them again arrives at the same state. The audit applies them too, and
// an entry that does not follow from those before it is an error that says why.
#ifndef LIQUID_COORDINATOR_JOB_RECORD_H_
#define LIQUID_COORDINATOR_JOB_RECORD_H_

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "data/epoch_order.h"
#include "proto/ledger.pb.h"
#include "proto/slot_set.h"

namespace liquid {

// The rows that an epoch of a job visits: all, or the draws from its sources. 0 if there cannot be
// such sources of so many rows.
int64_t EpochLength(int64_t num_rows,
                    const google::protobuf::RepeatedPtrField<SourceRows>& sources);

// The rows of the job, in order, and their division into steps and slots. REQUIRES: numbers that
// a job may have (JobRecord checks those of a ledger).
JobStream StreamOf(const JobOpened& opened);

// A value: copies are independent. One thread at a time.
class JobRecord {
 public:
  // Takes in the next entry. DataLoss, and no change, if it does not follow from the ones before:
  // steps are committed one after the other, in the generation that leased them, by the gangs that
  // held the slots (each slot once) and with the rows that the seed gives them; slots are stolen
  // from whoever holds them; a step done again in exact arithmetic has the fingerprint it had;
  // checkpoints are of committed steps; generations only count up.
  absl::Status Apply(const LedgerEntry& entry);
  // What Apply would say to that commit.
  absl::Status CheckCommit(const Commit& commit) const;

  bool is_open() const { return opened_.has_value(); }
  const JobOpened& opened() const { return *opened_; }  // is_open()
  const JobStream& stream() const { return *stream_; }  // is_open()

  int64_t generation() const { return generation_; }               // 0: none yet
  int64_t last_gang() const { return last_gang_; }                 // highest number so far
  const std::vector<GangStatus>& gangs() const { return gangs_; }  // of the generation, by number
  const GangStatus* FindGang(int64_t gang) const;                  // null: no member

  // Who holds what of a step that is not committed. A lease outlives its generation, until a newer
  // one leases the step again: its gangs may have done the step, and report it then.
  struct StepLease {
    int64_t generation = 0;
    std::map<int64_t, SlotSet> shares;  // by gang; gangs without slots are left out
  };
  const StepLease* FindLease(int64_t step) const;  // null: leased to nobody
  // The same, as it stands in a commit.
  google::protobuf::RepeatedPtrField<Lease::Share> SharesOf(int64_t step) const;

  int64_t committed_step() const { return committed_step_; }
  // Of the weights after `step`, 0 <= step <= committed_step().
  const std::string& FingerprintAfter(int64_t step) const;
  // Of a step that was committed, was voided and is to be done again; empty: nothing to compare.
  const std::string& ExpectedFingerprint(int64_t step) const;

  // Whether `step`, not committed now, was so before it was voided.
  bool WasDoneBefore(int64_t step) const {
    return step > committed_step_ && step <= static_cast<int64_t>(fingerprints_.size());
  }

  bool is_paused() const { return is_paused_; }
  // Who ordered a stop that is not carried out: gangs of that time are still members.
  const std::optional<std::string>& stop_ordered_by() const { return stop_ordered_by_; }
  // Whether that gang was told to go. Numbers are never reused, so it holds for ever.
  bool was_drained(int64_t gang) const { return drained_.contains(gang); }
  // DONE or FAILED once finished; a FAILED job is no longer so when a gang joins it again.
  const std::optional<JobFinished>& finished() const { return finished_; }

  // The newest; default values while there is none.
  const StepReport& last_step() const { return last_step_; }
  const EvalReport& last_eval() const { return last_eval_; }
  int64_t last_eval_step() const { return last_eval_step_; }  // -1: none
  const CheckpointReport& last_checkpoint() const { return last_checkpoint_; }
  int64_t num_wrong_answers() const { return num_wrong_answers_; }

  // All that the ledger tells of the job's status, as while no gang works: PENDING, WAITING, DONE
  // or FAILED. Without `job` and `output`.
  JobStatus Status() const;

 private:
  absl::Status Open(const JobOpened& opened);
  absl::Status ChangeGeneration(const GenerationChange& change);
  absl::Status AddLease(const Lease& lease);
  absl::Status AddSteal(const Steal& steal);
  void AddCommit(const Commit& commit);
  absl::Status CheckLeased(const Commit& commit) const;
  void Act(const OperatorAction& action);
  void ChangeLayout(const LayoutChange& change);
  absl::Status Void(const Voided& voided);
  absl::Status AddCheckpoint(const CheckpointReport& report);
  absl::Status Finish(const JobFinished& finished);

  std::optional<JobOpened> opened_;
  std::optional<JobStream> stream_;
  int64_t generation_ = 0;
  int64_t last_gang_ = 0;
  std::vector<GangStatus> gangs_;
  int64_t committed_step_ = 0;
  // [s-1]: of step s. Those behind committed_step_ are of voided steps.
  std::vector<std::string> fingerprints_;
  int64_t steps_of_other_layouts_ = 0;   // were done before the last change of the layout
  std::map<int64_t, StepLease> leases_;  // by step, not yet committed
  bool is_paused_ = false;
  std::optional<std::string> stop_ordered_by_;
  std::set<int64_t> drained_;
  std::optional<JobFinished> finished_;
  StepReport last_step_;
  EvalReport last_eval_;
  int64_t last_eval_step_ = -1;
  CheckpointReport last_checkpoint_;
  int64_t num_wrong_answers_ = 0;
};

}  // namespace liquid

#endif  // LIQUID_COORDINATOR_JOB_RECORD_H_
