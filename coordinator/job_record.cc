#include "coordinator/job_record.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status.h"

namespace liquid {
namespace {

// What a row number, and a number of slots, may be without overflow in step arithmetic.
constexpr int64_t kMaxRows = int64_t{1} << 48;
constexpr int32_t kMaxPerStep = 65536;

template <typename... Args>
absl::Status Broken(const Args&... args) {
  return absl::DataLossError(absl::StrCat(args...));
}

bool SameRanges(const google::protobuf::RepeatedPtrField<SlotRange>& a,
                const google::protobuf::RepeatedPtrField<SlotRange>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const SlotRange& x, const SlotRange& y) {
                      return x.begin() == y.begin() && x.end() == y.end();
                    });
}

}  // namespace

bool CoverEverySlotOnce(const std::vector<SlotRange>& ranges, int num_slots) {
  std::vector<std::pair<int, int>> sorted;
  for (const SlotRange& range : ranges) sorted.emplace_back(range.begin(), range.end());
  std::sort(sorted.begin(), sorted.end());
  int next = 0;
  for (const auto& [begin, end] : sorted) {
    if (begin != next || end <= begin) return false;
    next = end;
  }
  return next == num_slots;
}

absl::Status JobRecord::Apply(const LedgerEntry& entry) {
  const auto kind = entry.entry_case();
  if (is_open() == (kind == LedgerEntry::kJobOpened)) {
    return Broken(is_open() ? "the job is opened twice" : "the job is not opened yet");
  }
  if (finished_.has_value() && finished_->state() == DONE) return Broken("the job is done already");
  switch (kind) {
    case LedgerEntry::kJobOpened:
      return Open(entry.job_opened());
    case LedgerEntry::kGeneration:
      return ChangeGeneration(entry.generation());
    case LedgerEntry::kLease:
      return AddLease(entry.lease());
    case LedgerEntry::kCommit:
      LIQUID_RETURN_IF_ERROR(CheckCommit(entry.commit()));
      AddCommit(entry.commit().report());
      return absl::OkStatus();
    case LedgerEntry::kVoided:
      return Void(entry.voided());
    case LedgerEntry::kCheckpoint:
      return AddCheckpoint(entry.checkpoint().report());
    case LedgerEntry::kOperatorAction:
      // A stop ends a pause: whoever starts the job again wants it to run.
      is_paused_ = entry.operator_action().what() == "pause" ||
                   (is_paused_ && entry.operator_action().what() == "checkpoint");
      return absl::OkStatus();
    case LedgerEntry::kJobFinished:
      return Finish(entry.job_finished());
    case LedgerEntry::kEval:
      if (entry.eval().report().step() > committed_step_) return Broken("eval of a later step");
      last_eval_ = entry.eval().report();
      return absl::OkStatus();
    case LedgerEntry::ENTRY_NOT_SET:
      break;
  }
  return Broken("an entry of an unknown kind");
}

absl::Status JobRecord::Open(const JobOpened& opened) {
  const bool possible =
      opened.num_rows() >= 1 && opened.num_rows() <= kMaxRows && opened.epochs() > 0 &&
      opened.epochs() * static_cast<double>(opened.num_rows()) < static_cast<double>(kMaxRows) &&
      opened.slots_per_step() >= 1 && opened.slots_per_step() <= kMaxPerStep &&
      opened.rows_per_slot() >= 1 && opened.rows_per_slot() <= kMaxPerStep;
  if (!possible) return Broken("a job that cannot be");
  const JobStream stream(EpochOrder(opened.seed(), opened.num_rows(), opened.shuffle()),
                         opened.epochs(), opened.slots_per_step(), opened.rows_per_slot());
  if (stream.num_steps() != opened.num_steps()) {
    return Broken("the job has ", stream.num_steps(), " steps, not ", opened.num_steps());
  }
  opened_ = opened;
  stream_ = stream;
  return absl::OkStatus();
}

const std::string& JobRecord::FingerprintAfter(int64_t step) const {
  LIQUID_CHECK(step >= 0 && step <= committed_step_, "step ", step);
  return step == 0 ? opened_->initial_fingerprint() : fingerprints_[step - 1];
}

const std::string& JobRecord::ExpectedFingerprint(int64_t step) const {
  static const std::string& none = *new std::string;
  return WasDoneBefore(step) && opened_->gradient_sum() == "exact" ? fingerprints_[step - 1] : none;
}

absl::Status JobRecord::ChangeGeneration(const GenerationChange& change) {
  if (change.generation() <= generation_) {
    return Broken("generation ", change.generation(), " after ", generation_);
  }
  std::set<int64_t> before;
  for (const GangStatus& gang : gangs_) before.insert(gang.gang());
  int64_t last = last_gang_;
  for (const GangStatus& gang : change.gangs()) {
    if (before.contains(gang.gang())) continue;
    if (gang.gang() <= last) return Broken("gang ", gang.gang(), " joins after gang ", last);
    last = gang.gang();
  }
  generation_ = change.generation();
  last_gang_ = last;
  gangs_.assign(change.gangs().begin(), change.gangs().end());
  leases_.clear();
  if (!gangs_.empty()) finished_.reset();
  return absl::OkStatus();
}

absl::Status JobRecord::AddLease(const Lease& lease) {
  const bool is_member =
      std::any_of(gangs_.begin(), gangs_.end(),
                  [&lease](const GangStatus& gang) { return gang.gang() == lease.gang(); });
  if (lease.generation() != generation_ || !is_member) {
    return Broken("lease of step ", lease.step(), " to gang ", lease.gang(), " of generation ",
                  lease.generation(), ": not a member of generation ", generation_);
  }
  if (lease.step() <= committed_step_ || lease.step() > opened_->num_steps()) {
    return Broken("lease of step ", lease.step(), " after step ", committed_step_, " of ",
                  opened_->num_steps());
  }
  leases_[lease.step()].push_back(lease);
  return absl::OkStatus();
}

absl::Status JobRecord::CheckLeased(const Commit& commit) const {
  const StepReport& report = commit.report();
  const auto found = leases_.find(report.step());
  if (found == leases_.end()) return Broken("step ", report.step(), " was leased to nobody");
  std::vector<SlotRange> all;
  bool matches = false;
  for (const Lease& lease : found->second) {
    all.insert(all.end(), lease.slots().begin(), lease.slots().end());
    matches |= lease.gang() == commit.gang() && SameRanges(lease.slots(), report.slots());
  }
  if (!matches) {
    return Broken("step ", report.step(), ": its slots were not leased to gang ", commit.gang());
  }
  if (!CoverEverySlotOnce(all, opened_->slots_per_step())) {
    return Broken("step ", report.step(), ": its leases are not each slot once");
  }
  return absl::OkStatus();
}

absl::Status JobRecord::CheckCommit(const Commit& commit) const {
  const StepReport& report = commit.report();
  if (report.step() != committed_step_ + 1) {
    return Broken("step ", report.step(), " is committed after step ", committed_step_);
  }
  if (report.generation() != generation_) {
    return Broken("step ", report.step(), " is of generation ", report.generation(),
                  " in generation ", generation_);
  }
  LIQUID_RETURN_IF_ERROR(CheckLeased(commit));
  const int64_t begin = stream_->StreamBegin(report.step());
  const int64_t end = stream_->StreamEnd(report.step());
  if (report.stream_begin() != begin || report.stream_end() != end) {
    return Broken("step ", report.step(), " has rows ", report.stream_begin(), " to ",
                  report.stream_end(), " of the stream instead of ", begin, " to ", end);
  }
  if (report.fingerprint().empty()) return Broken("step ", report.step(), " has no fingerprint");
  const std::string& expected = ExpectedFingerprint(report.step());
  if (!expected.empty() && expected != report.fingerprint()) {
    return Broken("step ", report.step(), " was done again and came out different: fingerprint ",
                  report.fingerprint(), ", before ", expected);
  }
  return absl::OkStatus();
}

void JobRecord::AddCommit(const StepReport& report) {
  if (static_cast<int64_t>(fingerprints_.size()) < report.step()) {
    fingerprints_.emplace_back();
  }
  fingerprints_[report.step() - 1] = report.fingerprint();
  committed_step_ = report.step();
  leases_.erase(report.step());
  last_step_ = report;
}

absl::Status JobRecord::Void(const Voided& voided) {
  if (voided.from_step() < 1 || voided.from_step() > voided.to_step() ||
      voided.to_step() != committed_step_) {
    return Broken("steps ", voided.from_step(), " to ", voided.to_step(), " are voided after step ",
                  committed_step_);
  }
  if (!gangs_.empty()) return Broken("steps are voided while a gang holds their result");
  committed_step_ = voided.from_step() - 1;
  leases_.clear();
  last_step_ = StepReport();
  if (last_eval_.step() > committed_step_) last_eval_ = EvalReport();
  if (last_checkpoint_.step() > committed_step_) last_checkpoint_ = CheckpointReport();
  return absl::OkStatus();
}

absl::Status JobRecord::AddCheckpoint(const CheckpointReport& report) {
  if (report.step() < 0 || report.step() > committed_step_) {
    return Broken("checkpoint of step ", report.step(), ", which is not committed");
  }
  if (report.directory().empty() || !report.error().empty()) {
    return Broken("checkpoint of step ", report.step(), " without a directory");
  }
  last_checkpoint_ = report;
  return absl::OkStatus();
}

absl::Status JobRecord::Finish(const JobFinished& finished) {
  if (finished.state() != DONE && finished.state() != FAILED) return Broken("finished how?");
  const bool is_complete = committed_step_ == opened_->num_steps();
  if (finished.state() == DONE &&
      (!is_complete || finished.fingerprint() != FingerprintAfter(committed_step_))) {
    return Broken("done after step ", committed_step_, " of ", opened_->num_steps(),
                  ", or with another fingerprint than its last step's");
  }
  finished_ = finished;
  return absl::OkStatus();
}

JobStatus JobRecord::Status() const {
  JobStatus status;
  status.set_state(finished_.has_value() ? finished_->state() : is_open() ? WAITING : PENDING);
  if (!is_open()) return status;
  status.set_step(committed_step_);
  status.set_num_steps(opened_->num_steps());
  status.set_epoch(stream_->EpochsAfter(committed_step_));
  status.set_epochs(opened_->epochs());
  status.set_generation(generation_);
  *status.mutable_last_step() = last_step_;
  *status.mutable_last_eval() = last_eval_;
  status.set_last_checkpoint(last_checkpoint_.directory());
  status.set_last_checkpoint_step(last_checkpoint_.step());
  if (finished_.has_value()) status.set_error(finished_->error());
  return status;
}

}  // namespace liquid
