// The data that a job asks for, as what preparing it wants to know.
#ifndef LIQUID_DATA_JOB_OPTIONS_H_
#define LIQUID_DATA_JOB_OPTIONS_H_

#include "absl/status/statusor.h"
#include "data/prepare.h"
#include "proto/job.pb.h"

namespace liquid {

enum class JobPart { kTrain, kEval };

// How that part of the job's data is prepared, in OUTPUT/data: the same for whoever does it, so
// that what `liquid prepare` made is found by the workers. InvalidArgument if data.overlong or
// data.loss_on is none of the names it may be.
absl::StatusOr<PrepareOptions> PrepareOptionsOf(const Job& job, JobPart part);

}  // namespace liquid

#endif  // LIQUID_DATA_JOB_OPTIONS_H_
