#include "cli/checkpoint_audit.h"

#include <map>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status.h"
#include "checkpoint/catalog.h"
#include "checkpoint/manifest.h"
#include "coordinator/ledger.h"

namespace liquid {
namespace {

struct Records {
  std::map<std::string, CheckpointReport> checkpoints;  // the last of each directory
  std::map<int64_t, std::string> fingerprints;          // of the last commit of each step
};

absl::StatusOr<Records> ReadRecords(const std::string& output) {
  Records records;
  LIQUID_RETURN_IF_ERROR(
      ReadLedger(LedgerPath(output), [&records](const LedgerEntry& entry) -> absl::Status {
        if (entry.has_checkpoint() && entry.checkpoint().report().error().empty()) {
          const CheckpointReport& report = entry.checkpoint().report();
          records.checkpoints[report.directory()] = report;
        } else if (entry.has_commit()) {
          const StepReport& report = entry.commit().report();
          records.fingerprints[report.step()] = report.fingerprint();
        }
        return absl::OkStatus();
      }).status());
  return records;
}

absl::Status CheckWeights(const std::string& directory, const Manifest& manifest,
                          const Records& records) {
  const int64_t step = manifest.state.step;
  if (step == 0) return absl::OkStatus();
  const auto committed = records.fingerprints.find(step);
  if (committed == records.fingerprints.end()) {
    return absl::DataLossError(
        absl::StrCat(directory, " is there, but the ledger never had a commit of step ", step,
                     records.fingerprints.empty()
                         ? ""
                         : absl::StrCat(", only up to step ", records.fingerprints.rbegin()->first),
                     ": the ledger's end is missing"));
  }
  const std::string fingerprint = ToHex(manifest.state.weights_fingerprint);
  if (committed->second == fingerprint) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat(directory, ": its weights have the fingerprint ",
                                          fingerprint, ", step ", step, " was committed with ",
                                          committed->second));
}

absl::Status CheckRecorded(const std::string& directory, const CheckpointReport& recorded,
                           const Records& records) {
  LIQUID_ASSIGN_OR_RETURN(const Manifest manifest, ReadManifest(directory));
  const std::string digest = ManifestDigest(manifest);
  if (digest != recorded.manifest_digest()) {
    return absl::DataLossError(absl::StrCat(directory, ": its manifest has the digest ", digest,
                                            ", the ledger says ", recorded.manifest_digest()));
  }
  return CheckWeights(directory, manifest, records);
}

}  // namespace

absl::StatusOr<CheckpointAudit> AuditCheckpoints(const std::string& output) {
  LIQUID_ASSIGN_OR_RETURN(const Records records, ReadRecords(output));
  const std::string root = JoinPath(output, "checkpoints");
  CheckpointAudit audit;
  for (const auto& [name, recorded] : records.checkpoints) {
    const std::string directory = JoinPath(root, name);
    if (!FileExists(directory)) {
      ++audit.num_gone;
      continue;
    }
    LIQUID_RETURN_IF_ERROR(CheckRecorded(directory, recorded, records));
    ++audit.num_matching;
  }
  LIQUID_ASSIGN_OR_RETURN(const CheckpointCatalog catalog, ListCheckpoints(root));
  for (const CheckpointEntry& entry : catalog.complete) {
    const std::string name = CheckpointName(entry.step);
    if (records.checkpoints.contains(name)) continue;
    LIQUID_ASSIGN_OR_RETURN(const Manifest manifest, ReadManifest(entry.path));
    LIQUID_RETURN_IF_ERROR(CheckWeights(entry.path, manifest, records));
    audit.unrecorded.push_back(name);
  }
  return audit;
}

}  // namespace liquid
