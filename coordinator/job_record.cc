#include "coordinator/job_record.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "absl/strings/numbers.h"
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

std::string Describe(const SlotRanges& ranges) {
  std::string text;
  for (const SlotRange& range : ranges) {
    absl::StrAppend(&text, text.empty() ? "" : " ", range.begin(), "-", range.end() - 1);
  }
  return text.empty() ? "none" : text;
}

}  // namespace

int64_t EpochLength(int64_t num_rows,
                    const google::protobuf::RepeatedPtrField<SourceRows>& sources) {
  if (sources.empty()) return num_rows;
  int64_t rows = 0;
  int64_t draws = 0;
  for (const SourceRows& source : sources) {
    if (source.rows() < 1 || source.rows() > kMaxRows - rows || source.draws() < 1 ||
        source.draws() > kMaxRows - draws) {
      return 0;
    }
    rows += source.rows();
    draws += source.draws();
  }
  return rows == num_rows ? draws : 0;
}

JobStream StreamOf(const JobOpened& opened) {
  std::vector<RowSource> sources;
  for (const SourceRows& source : opened.sources()) {
    sources.push_back({source.rows(), source.draws()});
  }
  return JobStream(sources.empty() ? EpochOrder(opened.seed(), opened.num_rows(), opened.shuffle())
                                   : EpochOrder(opened.seed(), sources, opened.shuffle()),
                   opened.epochs(), opened.slots_per_step(), opened.rows_per_slot());
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
      AddCommit(entry.commit());
      return absl::OkStatus();
    case LedgerEntry::kVoided:
      return Void(entry.voided());
    case LedgerEntry::kCheckpoint:
      return AddCheckpoint(entry.checkpoint().report());
    case LedgerEntry::kOperatorAction:
      Act(entry.operator_action());
      return absl::OkStatus();
    case LedgerEntry::kJobFinished:
      return Finish(entry.job_finished());
    case LedgerEntry::kEval:
      if (entry.eval().report().step() > committed_step_) return Broken("eval of a later step");
      last_eval_ = entry.eval().report();
      last_eval_step_ = last_eval_.step();
      return absl::OkStatus();
    case LedgerEntry::kSteal:
      return AddSteal(entry.steal());
    case LedgerEntry::kGangAdmitted:
      if (entry.gang_admitted().gang() <= last_gang_) {
        return Broken("gang ", entry.gang_admitted().gang(), " is new after gang ", last_gang_);
      }
      last_gang_ = entry.gang_admitted().gang();
      return absl::OkStatus();
    case LedgerEntry::kWrongAnswer:
      if (entry.wrong_answer().votes_size() < 2) return Broken("a wrong answer without two votes");
      ++num_wrong_answers_;
      return absl::OkStatus();
    case LedgerEntry::kLayoutChange:
      ChangeLayout(entry.layout_change());
      return absl::OkStatus();
    case LedgerEntry::ENTRY_NOT_SET:
      break;
  }
  return Broken("an entry of an unknown kind");
}

void JobRecord::ChangeLayout(const LayoutChange& change) {
  opened_->set_tensor_parallel(change.tensor_parallel());
  opened_->set_sequence_parallel(change.sequence_parallel());
  opened_->set_recipe(change.recipe());
  opened_->set_probe(change.probe());
  steps_of_other_layouts_ = static_cast<int64_t>(fingerprints_.size());
}

void JobRecord::Act(const OperatorAction& action) {
  const std::string& what = action.what();
  if (what == "stop" && !gangs_.empty()) stop_ordered_by_ = action.who();
  int64_t gang = 0;
  if (what.starts_with("drain ") && absl::SimpleAtoi(what.substr(6), &gang)) drained_.insert(gang);
  // A stop ends a pause: whoever starts the job again wants it to run.
  if (what == "pause") is_paused_ = true;
  if (what == "resume" || what == "stop") is_paused_ = false;
}

absl::Status JobRecord::Open(const JobOpened& opened) {
  const int64_t epoch_length = EpochLength(opened.num_rows(), opened.sources());
  const bool possible =
      opened.num_rows() >= 1 && opened.num_rows() <= kMaxRows && epoch_length >= 1 &&
      opened.epochs() > 0 &&
      opened.epochs() * static_cast<double>(epoch_length) < static_cast<double>(kMaxRows) &&
      opened.slots_per_step() >= 1 && opened.slots_per_step() <= kMaxPerStep &&
      opened.rows_per_slot() >= 1 && opened.rows_per_slot() <= kMaxPerStep;
  if (!possible) return Broken("a job that cannot be");
  const JobStream stream = StreamOf(opened);
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
  const bool is_comparable =
      WasDoneBefore(step) && step > steps_of_other_layouts_ && opened_->gradient_sum() == "exact";
  return is_comparable ? fingerprints_[step - 1] : none;
}

const GangStatus* JobRecord::FindGang(int64_t gang) const {
  const auto found =
      std::lower_bound(gangs_.begin(), gangs_.end(), gang,
                       [](const GangStatus& a, int64_t number) { return a.gang() < number; });
  return found == gangs_.end() || found->gang() != gang ? nullptr : &*found;
}

const JobRecord::StepLease* JobRecord::FindLease(int64_t step) const {
  const auto found = leases_.find(step);
  return found == leases_.end() ? nullptr : &found->second;
}

google::protobuf::RepeatedPtrField<Lease::Share> JobRecord::SharesOf(int64_t step) const {
  google::protobuf::RepeatedPtrField<Lease::Share> shares;
  const StepLease* lease = FindLease(step);
  if (lease == nullptr) return shares;
  for (const auto& [gang, slots] : lease->shares) {
    Lease::Share& share = *shares.Add();
    share.set_gang(gang);
    *share.mutable_slots() = slots.ToRanges();
  }
  return shares;
}

absl::Status JobRecord::ChangeGeneration(const GenerationChange& change) {
  if (change.generation() <= generation_) {
    return Broken("generation ", change.generation(), " after ", generation_);
  }
  int64_t last = 0;
  for (const GangStatus& gang : change.gangs()) {
    if (gang.gang() <= last) {
      return Broken("generation ", change.generation(), " has gang ", gang.gang(), " after gang ",
                    last);
    }
    last = gang.gang();
  }
  generation_ = change.generation();
  last_gang_ = std::max(last_gang_, last);
  gangs_.assign(change.gangs().begin(), change.gangs().end());
  if (!gangs_.empty()) finished_.reset();
  if (gangs_.empty()) stop_ordered_by_.reset();
  return absl::OkStatus();
}

absl::Status JobRecord::AddLease(const Lease& lease) {
  if (lease.generation() != generation_) {
    return Broken("lease of step ", lease.step(), " in generation ", lease.generation(), ", not ",
                  generation_);
  }
  if (lease.step() <= committed_step_ || lease.step() > opened_->num_steps()) {
    return Broken("lease of step ", lease.step(), " after step ", committed_step_, " of ",
                  opened_->num_steps());
  }
  StepLease taken{.generation = lease.generation(), .shares = {}};
  SlotSet all;
  for (const Lease::Share& share : lease.shares()) {
    if (FindGang(share.gang()) == nullptr) {
      return Broken("lease of step ", lease.step(), " to gang ", share.gang(),
                    ": not a member of generation ", generation_);
    }
    const auto slots = SlotSet::FromRanges(share.slots());
    if (!slots.has_value() || slots->empty() || slots->Overlaps(all)) {
      return Broken("step ", lease.step(), ": its leases are not each slot once");
    }
    all.Add(*slots);
    if (!taken.shares.emplace(share.gang(), *slots).second) {
      return Broken("lease of step ", lease.step(), " to gang ", share.gang(), " twice");
    }
  }
  if (!(all == SlotSet(0, opened_->slots_per_step()))) {
    return Broken("step ", lease.step(), ": its leases are not each slot once");
  }
  leases_[lease.step()] = std::move(taken);
  return absl::OkStatus();
}

absl::Status JobRecord::AddSteal(const Steal& steal) {
  const auto lease = leases_.find(steal.step());
  if (lease == leases_.end() || lease->second.generation != steal.generation() ||
      steal.generation() != generation_) {
    return Broken("a steal in step ", steal.step(), " of generation ", steal.generation(),
                  ", which is not leased");
  }
  const auto slots = SlotSet::FromRanges(steal.slots());
  auto& shares = lease->second.shares;
  const auto from = shares.find(steal.from());
  if (!slots.has_value() || slots->empty() || from == shares.end() ||
      !from->second.Contains(*slots) || steal.from() == steal.to() ||
      FindGang(steal.to()) == nullptr) {
    return Broken("step ", steal.step(), ": gang ", steal.from(), " cannot give slots ",
                  Describe(steal.slots()), " to gang ", steal.to());
  }
  from->second.Remove(*slots);
  if (from->second.empty()) shares.erase(from);
  shares[steal.to()].Add(*slots);
  return absl::OkStatus();
}

absl::Status JobRecord::CheckLeased(const Commit& commit) const {
  const StepReport& report = commit.report();
  const StepLease* lease = FindLease(report.step());
  if (lease == nullptr) return Broken("step ", report.step(), " was leased to nobody");
  if (report.generation() != lease->generation) {
    return Broken("step ", report.step(), " is of generation ", report.generation(),
                  ", but leased in generation ", lease->generation);
  }
  for (const Lease::Share& share : commit.shares()) {
    const auto held = lease->shares.find(share.gang());
    const auto slots = SlotSet::FromRanges(share.slots());
    if (held == lease->shares.end() || !slots.has_value() || !(*slots == held->second)) {
      return Broken("step ", report.step(), ": slots ", Describe(share.slots()),
                    " were not leased to gang ", share.gang());
    }
  }
  // Each share is a different gang's whole lease, and leases are each slot once.
  if (commit.shares_size() != static_cast<int>(lease->shares.size())) {
    return Broken("step ", report.step(), " is committed by ", commit.shares_size(), " gangs of ",
                  lease->shares.size());
  }
  std::set<int64_t> gangs;
  for (const Lease::Share& share : commit.shares()) gangs.insert(share.gang());
  if (gangs.size() != lease->shares.size()) {
    return Broken("step ", report.step(), " is committed by a gang twice");
  }
  const auto all = SlotSet::FromRanges(report.slots());
  if (!all.has_value() || !(*all == SlotSet(0, opened_->slots_per_step()))) {
    return Broken("step ", report.step(), " is committed with slots ", Describe(report.slots()),
                  " instead of all ", opened_->slots_per_step());
  }
  return absl::OkStatus();
}

absl::Status JobRecord::CheckCommit(const Commit& commit) const {
  const StepReport& report = commit.report();
  if (report.step() != committed_step_ + 1) {
    return Broken("step ", report.step(), " is committed after step ", committed_step_);
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

void JobRecord::AddCommit(const Commit& commit) {
  const StepReport& report = commit.report();
  auto gang = gangs_.begin();
  for (const auto& [number, slots] : leases_[report.step()].shares) {
    while (gang != gangs_.end() && gang->gang() < number) ++gang;
    if (gang == gangs_.end()) break;
    if (gang->gang() == number) gang->set_slots_done(gang->slots_done() + slots.size());
  }
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
  committed_step_ = voided.from_step() - 1;
  leases_.clear();
  last_step_ = StepReport();
  if (last_eval_step_ > committed_step_) {
    last_eval_ = EvalReport();
    last_eval_step_ = -1;
  }
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
  // One of an older step may have been on its way for long.
  if (report.step() >= last_checkpoint_.step()) last_checkpoint_ = report;
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
