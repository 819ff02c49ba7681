// The data that a job file asks for, prepared or found prepared.
#ifndef LIQUID_CLI_JOB_DATA_H_
#define LIQUID_CLI_JOB_DATA_H_

#include "absl/status/statusor.h"
#include "data/job_options.h"
#include "data/prepare.h"
#include "proto/job.pb.h"

namespace liquid {

// Prepares that part of the job's data in OUTPUT/data, just as the worker does, so that training
// finds it there. On a terminal, shows on stderr how far it is. Errors end with
// ExitCode::kData unless the disk is full.
absl::StatusOr<PrepareReport> PrepareJobPart(const Job& job, JobPart part);

}  // namespace liquid

#endif  // LIQUID_CLI_JOB_DATA_H_
