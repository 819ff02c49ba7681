// What can be known to be wrong with a job before anything is started.
#ifndef LIQUID_CLI_JOB_CHECK_H_
#define LIQUID_CLI_JOB_CHECK_H_

#include "absl/status/status.h"
#include "proto/job.pb.h"

namespace liquid {

// Looks whether what the job names is there: the model's configuration, which is read, the
// tokenizer, the data, the chat template, the checkpoint to resume from. Names the first thing that
// is not, with the key of the job file. The workers check all of it again, and the contents.
absl::Status CheckJobInputs(const Job& job);

}  // namespace liquid

#endif  // LIQUID_CLI_JOB_CHECK_H_
