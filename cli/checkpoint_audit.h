// Holds the checkpoints of a job against what its ledger says of them.
#ifndef LIQUID_CLI_CHECKPOINT_AUDIT_H_
#define LIQUID_CLI_CHECKPOINT_AUDIT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace liquid {

struct CheckpointAudit {
  int64_t num_matching = 0;             // there, and their manifests are the recorded ones
  int64_t num_gone = 0;                 // recorded, and removed since, as old ones are
  std::vector<std::string> unrecorded;  // there, but the ledger does not know them
};

// Of OUTPUT/checkpoints and OUTPUT/ledger.sqlite. A manifest holds the checksums of all else in its
// directory; whether those hold is `liquid verify`'s part. DataLoss, naming the checkpoint, if a
// manifest is not the recorded one, if its weights are not those that the step was committed with,
// or if the ledger never had that step: then its end is missing, for no checkpoint gets its name
// before the commit of its step is on disk.
absl::StatusOr<CheckpointAudit> AuditCheckpoints(const std::string& output);

}  // namespace liquid

#endif  // LIQUID_CLI_CHECKPOINT_AUDIT_H_
