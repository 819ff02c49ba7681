#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "cli/job_data.h"
#include "cli/terminal.h"
#include "cli/verbs.h"
#include "proto/job_loader.h"

namespace liquid {
namespace {

struct PrepareFlags {
  std::string file;
  std::vector<std::string> overrides;
  bool json = false;
};

absl::StatusOr<ExitCode> Prepare(const PrepareFlags& flags) {
  LIQUID_ASSIGN_OR_RETURN(const Job job, LoadJob(flags.file, flags.overrides));
  std::string json;
  for (const JobPart part : {JobPart::kTrain, JobPart::kEval}) {
    if (part == JobPart::kEval && job.data().eval().empty()) continue;
    const char* name = part == JobPart::kTrain ? "train" : "eval";
    LIQUID_ASSIGN_OR_RETURN(const PrepareReport report, PrepareJobPart(job, part));
    if (flags.json) {
      absl::StrAppend(&json, json.empty() ? "{" : ",", "\"", name,
                      "\":", PrepareReportJson(report));
    } else {
      PrintLine(absl::StrCat(name, report.reused ? " (prepared before): " : ": ",
                             PrepareReportText(report)));
    }
  }
  if (flags.json) PrintLine(json + "}");
  return ExitCode::kOk;
}

}  // namespace

Verb AddPrepareVerb(CLI::App& liquid) {
  auto flags = std::make_shared<PrepareFlags>();
  CLI::App* app = liquid.add_subcommand(
      "prepare", "Tokenizes and packs the data of a job, so that training starts at once.");
  app->add_option("FILE", flags->file, "job file")->required();
  app->add_option("--set", flags->overrides, "job setting that overrides the file's: KEY=VALUE")
      ->allow_extra_args(false);
  app->add_flag("--json", flags->json, "answer in JSON");
  return {app, [flags] { return Prepare(*flags); }};
}

}  // namespace liquid
