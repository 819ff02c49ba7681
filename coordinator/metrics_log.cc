#include "coordinator/metrics_log.h"

#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "base/log.h"
#include "base/status.h"
#include "coordinator/job_record.h"
#include "coordinator/ledger.h"
#include "nlohmann/json.hpp"
#include "proto/eval_report.h"

namespace liquid {
namespace {

using Json = nlohmann::ordered_json;

Json StepJson(const Commit& commit, const JobStream& stream) {
  const StepReport& report = commit.report();
  return {{"event", "step"},
          {"step", report.step()},
          {"epoch", stream.EpochsAfter(report.step())},
          {"loss", report.loss()},
          {"learning_rate", report.learning_rate()},
          {"gradient_norm", report.gradient_norm()},
          {"target_tokens", report.target_tokens()},
          {"tokens", report.tokens()},
          {"tokens_per_second", report.tokens_per_second()},
          {"mfu", report.mfu()},
          {"peak_flops", report.peak_flops()},
          {"step_seconds", report.step_seconds()},
          {"data_seconds", report.data_seconds()},
          {"comm_seconds", report.comm_seconds()},
          {"resident_bytes", report.resident_bytes()},
          {"skipped", report.skipped()},
          {"stream_begin", report.stream_begin()},
          {"stream_end", report.stream_end()},
          {"gangs", commit.shares_size()},
          {"generation", report.generation()},
          {"fingerprint", report.fingerprint()}};
}

Json EvalJson(const EvalReport& report, const JobStream& stream) {
  return {{"event", "eval"},
          {"step", report.step()},
          {"epoch", stream.EpochsAfter(report.step())},
          {"loss", report.loss()},
          {"perplexity", Perplexity(report)},
          {"accuracy", Accuracy(report)},
          {"target_tokens", report.target_tokens()},
          {"correct_tokens", report.correct_tokens()},
          {"seconds", report.seconds()}};
}

Json CheckpointJson(const CheckpointReport& report) {
  return {{"event", "checkpoint"},
          {"step", report.step()},
          {"directory", report.directory()},
          {"num_bytes", report.num_bytes()},
          {"seconds", report.seconds()}};
}

// Of an entry that has a line.
int64_t StepOf(const LedgerEntry& entry) {
  if (entry.has_commit()) return entry.commit().report().step();
  return entry.has_eval() ? entry.eval().report().step() : entry.checkpoint().report().step();
}

}  // namespace

std::string MetricsPath(const std::string& output) { return JoinPath(output, "metrics.jsonl"); }

std::string MetricsLine(const LedgerEntry& entry, const JobStream& stream) {
  Json json;
  switch (entry.entry_case()) {
    case LedgerEntry::kCommit:
      json = StepJson(entry.commit(), stream);
      break;
    case LedgerEntry::kEval:
      json = EvalJson(entry.eval().report(), stream);
      break;
    case LedgerEntry::kCheckpoint:
      json = CheckpointJson(entry.checkpoint().report());
      break;
    default:
      return "";
  }
  json["time"] = absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", absl::FromUnixMicros(entry.unix_micros()),
                                  absl::UTCTimeZone());
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

void MetricsLog::Rebuild() {
  file_.reset();
  WarnOnce(TryRebuild());
}

absl::Status MetricsLog::TryRebuild() {
  JobRecord record;
  std::vector<std::pair<int64_t, std::string>> lines;
  const auto head = ReadLedger(LedgerPath(output_), [&](const LedgerEntry& entry) {
    LIQUID_RETURN_IF_ERROR(record.Apply(entry));
    if (entry.has_voided()) {
      const int64_t from = entry.voided().from_step();
      std::erase_if(lines, [from](const auto& line) { return line.first >= from; });
    } else if (std::string line = MetricsLine(entry, record.stream()); !line.empty()) {
      lines.emplace_back(StepOf(entry), std::move(line));
    }
    return absl::OkStatus();
  });
  LIQUID_RETURN_IF_ERROR(head.status());
  std::string content;
  for (const auto& [step, line] : lines) content += line;
  LIQUID_RETURN_IF_ERROR(WriteFileAtomically(MetricsPath(output_), content));
  LIQUID_ASSIGN_OR_RETURN(File file, File::OpenForUpdate(MetricsPath(output_)));
  file_ = std::move(file);
  num_bytes_ = static_cast<int64_t>(content.size());
  return absl::OkStatus();
}

void MetricsLog::Append(const LedgerEntry& entry, const JobStream& stream) {
  const std::string line = MetricsLine(entry, stream);
  if (!line.empty() && file_.has_value()) WarnOnce(TryAppend(line));
}

absl::Status MetricsLog::TryAppend(const std::string& line) {
  LIQUID_RETURN_IF_ERROR(file_->WriteAt(num_bytes_, line.data(), line.size()));
  num_bytes_ += static_cast<int64_t>(line.size());
  return absl::OkStatus();
}

void MetricsLog::WarnOnce(const absl::Status& status) {
  if (status.ok() || has_warned_) return;
  has_warned_ = true;
  LogWarning("metrics are not complete, training goes on: ", status.message());
}

}  // namespace liquid
