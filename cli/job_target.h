// Which job a verb is about, and where its coordinator is.
#ifndef LIQUID_CLI_JOB_TARGET_H_
#define LIQUID_CLI_JOB_TARGET_H_

#include <string>

#include "CLI/App.hpp"
#include "absl/status/statusor.h"
#include "cli/control_client.h"
#include "proto/coordinator.pb.h"

namespace liquid {

struct JobTarget {
  std::string output;       // directory, or HOST:PORT
  std::string coordinator;  // HOST:PORT; empty: `output` leads there
  std::string token_file;
};

// OUTPUT, --coordinator and --token-file of a verb; `target` must outlive `app`.
void AddJobTarget(CLI::App& app, JobTarget& target);
void AddTokenFile(CLI::App& app, std::string& token_file);

// HOST:PORT of the coordinator. InvalidArgument if the command line names no job; NotFound if the
// directory is not there, or nobody serves it.
absl::StatusOr<std::string> FindAddress(const JobTarget& target);

// What the verb shows to the coordinator. Errors as those of ReadAccessToken.
absl::StatusOr<ControlOptions> ControlOptionsOf(const JobTarget& target);

// The status as the ledger tells it, of a job that nobody serves because of `reason`; else
// `reason`.
absl::StatusOr<JobStatus> StatusAtRest(const JobTarget& target, const absl::Status& reason);

}  // namespace liquid

#endif  // LIQUID_CLI_JOB_TARGET_H_
