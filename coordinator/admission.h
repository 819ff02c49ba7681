// Who may join a job, and what the ledger notes of it. Pure, as job_machine.h, whose part it is.
#ifndef LIQUID_COORDINATOR_ADMISSION_H_
#define LIQUID_COORDINATOR_ADMISSION_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "coordinator/job_record.h"
#include "proto/coordinator.pb.h"
#include "proto/job.pb.h"
#include "proto/ledger.pb.h"

namespace liquid {

// OK if the gang has the job, the data and the arithmetic of `record` (any, if it is not open yet),
// and the weights of a step that it knows. Else FailedPrecondition with the two values that
// disagree; DataLoss for a job that cannot be. `is_first`: no gang is here, so a job file that
// spreads the model over other ranks than before may bring another arithmetic.
absl::Status CheckJoin(const Job& job, const std::string& job_digest, const JobRecord& record,
                       const Join& join, bool is_first);

// Whether the job file spreads the model otherwise than the record says. REQUIRES: it is open.
bool LayoutDiffers(const Job& job, const JobRecord& record);
LedgerEntry LayoutEntry(const Job& job, const Join& join);

// The first entry of a ledger, as its first gang determines it.
LedgerEntry OpeningEntry(const Job& job, const std::string& job_digest, const Join& join);

// The job goes on from the state after `step` that `ready` is of. If that is older than the last
// commit, the steps since are void; a checkpoint that it was loaded from and whose report was lost
// becomes known. REQUIRES: the job is open, the fingerprint is right.
std::vector<LedgerEntry> HistoryEntries(const JobRecord& record, int64_t step, const Ready& ready);

// "gang 3 (host:4711, 2 ranks)".
std::string DescribeGang(const GangStatus& gang);

}  // namespace liquid

#endif  // LIQUID_COORDINATOR_ADMISSION_H_
