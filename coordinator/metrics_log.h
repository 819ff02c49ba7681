// OUTPUT/metrics.jsonl: one line of JSON for each committed step, evaluation and checkpoint.
//
// Always what the ledger says: written anew from it at start and when steps are voided, so no step
// comes twice or out of order, and lines lost in a crash are there again. A log that cannot be
// written is reported once and never stops the training.
#ifndef LIQUID_COORDINATOR_METRICS_LOG_H_
#define LIQUID_COORDINATOR_METRICS_LOG_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "base/file.h"
#include "data/epoch_order.h"
#include "proto/ledger.pb.h"

namespace liquid {

std::string MetricsPath(const std::string& output);

// The line of an entry, with its newline; empty for entries that have none.
std::string MetricsLine(const LedgerEntry& entry, const JobStream& stream);

// One thread at a time.
class MetricsLog {
 public:
  explicit MetricsLog(std::string output) : output_(std::move(output)) {}

  // Replaces the file by what the ledger says now.
  void Rebuild();
  // Adds the line of `entry`, if it has one.
  void Append(const LedgerEntry& entry, const JobStream& stream);

 private:
  absl::Status TryRebuild();
  absl::Status TryAppend(const std::string& line);
  void WarnOnce(const absl::Status& status);

  const std::string output_;
  std::optional<File> file_;
  int64_t num_bytes_ = 0;
  bool has_warned_ = false;
};

}  // namespace liquid

#endif  // LIQUID_COORDINATOR_METRICS_LOG_H_
