#include "cli/job_target.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status.h"
#include "coordinator/audit.h"
#include "coordinator/ledger.h"
#include "proto/access_token.h"
#include "proto/job_loader.h"

namespace liquid {
namespace {

bool IsAddress(const std::string& text) {
  const size_t colon = text.rfind(':');
  int port = 0;
  return colon != std::string::npos && colon > 0 && text.find('/') == std::string::npos &&
         absl::SimpleAtoi(text.substr(colon + 1), &port) && port > 0 && port < 65536;
}

// What the job is called, from the first entry of its ledger; empty if that does not tell.
std::string JobNameIn(const std::string& ledger) {
  std::string name;
  const absl::Status enough = absl::CancelledError();
  const auto read = ReadLedger(ledger, [&](const LedgerEntry& entry) -> absl::Status {
    if (!entry.has_job_opened()) return absl::OkStatus();
    const auto job = ParseJob(entry.job_opened().job_text(), ledger, {});
    if (job.ok()) name = job->job();
    return enough;
  });
  static_cast<void>(
      read.status());  // whoever needs the ledger reads all of it, and says what is bad
  return name;
}

}  // namespace

void AddJobTarget(CLI::App& app, JobTarget& target) {
  auto* output = app.add_option("OUTPUT", target.output,
                                "the job's output directory, or HOST:PORT of its coordinator");
  app.add_option("--coordinator", target.coordinator, "HOST:PORT to ask instead")->excludes(output);
  AddTokenFile(app, target.token_file);
}

void AddTokenFile(CLI::App& app, std::string& token_file) {
  app.add_option("--token-file", token_file, "file with the coordinator's access token, if it asks")
      ->envname(kTokenFileVariable);
}

absl::StatusOr<std::string> FindAddress(const JobTarget& target) {
  if (!target.coordinator.empty()) return target.coordinator;
  if (target.output.empty()) {
    return absl::InvalidArgumentError(
        "say which job: its OUTPUT directory, or --coordinator HOST:PORT");
  }
  if (FileExists(target.output)) {
    LIQUID_ASSIGN_OR_RETURN(const CoordinatorPlace place, ReadCoordinatorPlace(target.output));
    return place.address;
  }
  if (IsAddress(target.output)) return target.output;
  return absl::NotFoundError(absl::StrCat(target.output, ": there is no such directory"));
}

absl::StatusOr<ControlOptions> ControlOptionsOf(const JobTarget& target) {
  ControlOptions options;
  LIQUID_ASSIGN_OR_RETURN(options.token, ReadAccessToken(target.token_file));
  return options;
}

absl::StatusOr<JobStatus> StatusAtRest(const JobTarget& target, const absl::Status& reason) {
  const bool nobody_serves = absl::IsUnavailable(reason) || absl::IsNotFound(reason);
  if (target.output.empty() || !nobody_serves || !FileExists(target.output)) return reason;
  absl::StatusOr<JobStatus> status = ReadJobStatus(target.output);
  if (absl::IsNotFound(status.status())) {
    return absl::NotFoundError(absl::StrCat(target.output, ": no job was ever started there"));
  }
  if (status.ok() && status->job().empty()) status->set_job(JobNameIn(LedgerPath(target.output)));
  return status;
}

}  // namespace liquid
