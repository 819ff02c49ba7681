#include "coordinator/audit.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "coordinator/job_record.h"
#include "coordinator/ledger.h"

namespace liquid {
namespace {

// Who did which slots of the committed steps; voided steps are forgotten.
using StepGangs = std::map<int64_t, std::vector<std::pair<SlotRange, int64_t>>>;

struct Reading {
  JobRecord record;
  AuditReport report;
  StepGangs gangs;
};

void Count(const LedgerEntry& entry, Reading* reading) {
  AuditReport& report = reading->report;
  switch (entry.entry_case()) {
    case LedgerEntry::kCommit: {
      const StepReport& step = entry.commit().report();
      auto& done = reading->gangs[step.step()];
      done.clear();
      for (const Lease::Share& share : entry.commit().shares()) {
        for (const SlotRange& range : share.slots()) done.emplace_back(range, share.gang());
      }
      return;
    }
    case LedgerEntry::kVoided:
      report.voided_steps += entry.voided().to_step() - entry.voided().from_step() + 1;
      reading->gangs.erase(reading->gangs.lower_bound(entry.voided().from_step()),
                           reading->gangs.end());
      return;
    case LedgerEntry::kCheckpoint:
      ++report.num_checkpoints;
      return;
    case LedgerEntry::kGeneration:
      ++report.num_generations;
      return;
    case LedgerEntry::kSteal:
      ++report.num_steals;
      return;
    default:
      return;
  }
}

absl::StatusOr<Reading> Read(const std::string& path) {
  Reading reading;
  LIQUID_ASSIGN_OR_RETURN(
      reading.report.head, ReadLedger(path, [&reading](const LedgerEntry& entry) -> absl::Status {
        const bool repeated = entry.entry_case() == LedgerEntry::kCommit &&
                              reading.record.is_open() &&
                              reading.record.WasDoneBefore(entry.commit().report().step());
        LIQUID_RETURN_IF_ERROR(reading.record.Apply(entry));
        Count(entry, &reading);
        reading.report.repeated_steps += repeated ? 1 : 0;
        ++reading.report.num_entries;
        return absl::OkStatus();
      }));
  return reading;
}

// Counts the rows of consecutive steps, and finds one that comes twice in an epoch.
class CoverageProof {
 public:
  explicit CoverageProof(const JobStream& stream) : stream_(stream) {
    int64_t begin = 0;
    for (int i = 0; i < stream.order().num_sources(); ++i) {
      first_rows_.push_back(begin);
      begin += stream.order().source(i).num_rows;
    }
  }

  absl::Status AddStep(int64_t step, int slots_per_step) {
    int64_t position = stream_.StreamBegin(step);
    const int64_t end = stream_.StreamEnd(step);
    for (int slot = 0; slot < slots_per_step; ++slot) {
      stream_.SlotRows(step, slot, &rows_);
      for (const int64_t row : rows_) {
        if (row < 0) continue;
        if (position >= end) return Wrong(step, slot, row, "is behind the end of the step");
        LIQUID_RETURN_IF_ERROR(AddRow(step, slot, position++, row));
      }
    }
    if (position != end) return Wrong(step, slots_per_step - 1, -1, "is missing");
    return absl::OkStatus();
  }

  // `names` of the sources, if data is mixed.
  std::vector<EpochCoverage> Take(const std::vector<std::string>& names) const {
    std::vector<EpochCoverage> coverage;
    for (const auto& [key, epoch] : epochs_) {
      const auto source = static_cast<size_t>(key.first);
      coverage.push_back({.source = names.empty() ? "" : names[source],
                          .epoch = key.second,
                          .rows_trained = epoch.rows_trained,
                          .num_rows = NumRows(key.first)});
    }
    return coverage;
  }

 private:
  // An epoch of a source.
  struct Epoch {
    int64_t rows_trained = 0;
    std::vector<bool> seen;  // empty once all are
  };

  int64_t NumRows(int source) const { return stream_.order().source(source).num_rows; }

  absl::Status AddRow(int64_t step, int slot, int64_t position, int64_t row) {
    const EpochOrder::StreamRow at = stream_.order().AtStream(position);
    if (at.position == 0 && at.epoch > 0) LIQUID_RETURN_IF_ERROR(EndEpoch(step, at.epoch));
    const int64_t num_rows = NumRows(at.source);
    const int64_t of_source = row - first_rows_[static_cast<size_t>(at.source)];
    if (of_source < 0 || of_source >= num_rows) {
      return Wrong(step, slot, row, "is not in the dataset");
    }
    Epoch& epoch = epochs_[{at.source, at.source_epoch}];
    if (epoch.rows_trained == 0) epoch.seen.assign(static_cast<size_t>(num_rows), false);
    if (epoch.seen.empty() || epoch.seen[static_cast<size_t>(of_source)]) {
      return Wrong(step, slot, row, "comes twice in its epoch");
    }
    epoch.seen[static_cast<size_t>(of_source)] = true;
    if (++epoch.rows_trained == num_rows) epoch.seen = {};
    return absl::OkStatus();
  }

  // Before the first row of epoch `next` of the job: the epochs of sources that end before it are
  // complete.
  absl::Status EndEpoch(int64_t step, int64_t next) const {
    for (const auto& [key, epoch] : epochs_) {
      const RowSource source = stream_.order().source(key.first);
      const bool must_be_complete = (key.second + 1) * source.num_rows <= next * source.draws;
      if (must_be_complete && epoch.rows_trained != source.num_rows) {
        return absl::DataLossError(absl::StrCat("step ", step, " begins epoch ", next,
                                                " of the job before epoch ", key.second,
                                                " of its rows is complete"));
      }
    }
    return absl::OkStatus();
  }

  static absl::Status Wrong(int64_t step, int slot, int64_t row, const char* what) {
    return absl::DataLossError(
        absl::StrCat("step ", step, ", slot ", slot, ": row ", row, " ", what));
  }

  const JobStream& stream_;
  std::vector<int64_t> first_rows_;                  // of each source
  std::map<std::pair<int, int64_t>, Epoch> epochs_;  // by source and its epoch
  std::vector<int64_t> rows_;
};

}  // namespace

absl::StatusOr<AuditReport> Audit(const std::string& ledger_path) {
  LIQUID_ASSIGN_OR_RETURN(Reading reading, Read(ledger_path));
  AuditReport& report = reading.report;
  const JobRecord& record = reading.record;
  if (!record.is_open()) return report;
  report.job_digest = record.opened().job_digest();
  report.dataset_digest = record.opened().dataset_digest();
  report.num_steps = record.opened().num_steps();
  report.committed_steps = record.committed_step();
  report.num_wrong_answers = record.num_wrong_answers();
  report.num_gangs = record.last_gang();
  report.fingerprint = record.FingerprintAfter(record.committed_step());
  CoverageProof proof(record.stream());
  for (int64_t step = 1; step <= record.committed_step(); ++step) {
    LIQUID_RETURN_IF_ERROR(Annotate(proof.AddStep(step, record.opened().slots_per_step()),
                                    absl::StrCat("ledger ", ledger_path)));
  }
  std::vector<std::string> names;
  for (const SourceRows& source : record.opened().sources()) names.push_back(source.name());
  report.epochs = proof.Take(names);
  return report;
}

absl::StatusOr<std::vector<SlotContent>> ContentOfStep(const std::string& ledger_path,
                                                       int64_t step) {
  LIQUID_ASSIGN_OR_RETURN(const Reading reading, Read(ledger_path));
  const auto done = reading.gangs.find(step);
  if (done == reading.gangs.end()) {
    return absl::OutOfRangeError(absl::StrCat(
        "step ", step, " is not committed: the ledger has 1 to ", reading.record.committed_step()));
  }
  const JobStream& stream = reading.record.stream();
  std::vector<SlotContent> content;
  for (const auto& [range, gang] : done->second) {
    for (int slot = range.begin(); slot < range.end(); ++slot) {
      SlotContent& next = content.emplace_back();
      next.slot = slot;
      next.gang = gang;
      stream.SlotRows(step, slot, &next.rows);
      int64_t position = stream.StreamBegin(step) + static_cast<int64_t>(next.rows.size()) * slot;
      for (const int64_t row : next.rows) {
        next.epochs.push_back(row < 0 ? -1 : stream.order().AtStream(position).source_epoch);
        ++position;
      }
    }
  }
  std::sort(content.begin(), content.end(),
            [](const SlotContent& a, const SlotContent& b) { return a.slot < b.slot; });
  return content;
}

absl::StatusOr<JobStatus> ReadJobStatus(const std::string& output) {
  LIQUID_ASSIGN_OR_RETURN(const Reading reading, Read(LedgerPath(output)));
  JobStatus status = reading.record.Status();
  status.set_output(output);
  return status;
}

}  // namespace liquid
