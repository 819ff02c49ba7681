// verify and fingerprint: what can be said of a model directory alone.
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status.h"
#include "checkpoint/fingerprint.h"
#include "checkpoint/parallel_loop.h"
#include "checkpoint/verify.h"
#include "cli/terminal.h"
#include "cli/verbs.h"

namespace liquid {
namespace {

using Json = nlohmann::ordered_json;

struct DirectoryFlags {
  std::string directory;
  bool json = false;
};

absl::Status AsCheckpointError(const absl::Status& status) {
  return status.ok() ? status : WithExitCode(status, ExitCode::kCheckpoint);
}

absl::StatusOr<ExitCode> Verify(const DirectoryFlags& flags) {
  const auto report = VerifyDirectory(flags.directory, NumUsableCpus());
  LIQUID_RETURN_IF_ERROR(AsCheckpointError(report.status()));
  const bool sound = report->problems.empty();
  if (flags.json) {
    Json problems = Json::array();
    for (const VerifyProblem& problem : report->problems) {
      problems.push_back({{"file", problem.file},
                          {"tensor", problem.tensor},
                          {"begin", problem.begin},
                          {"end", problem.end},
                          {"what", problem.what}});
    }
    PrintLine(ToJsonLine({{"sound", sound},
                          {"has_manifest", report->has_manifest},
                          {"files", report->num_files},
                          {"tensors", report->num_tensors},
                          {"bytes", report->num_bytes},
                          {"problems", problems}}));
  } else {
    for (const VerifyProblem& problem : report->problems) PrintLine("FAIL  " + problem.ToString());
    if (sound) {
      PrintLine(absl::StrCat("PASS  ", flags.directory, ": ", report->num_files, " files, ",
                             report->num_tensors, " tensors, ", report->num_bytes, " bytes; ",
                             report->has_manifest
                                 ? "every checksum holds"
                                 : "their structure is sound (no manifest: no checksums)"));
    }
  }
  if (sound) return ExitCode::kOk;
  return WithExitCode(
      absl::DataLossError(absl::StrCat(flags.directory, ": ", report->problems.size(),
                                       report->problems.size() == 1 ? " problem" : " problems")),
      ExitCode::kCheckpoint);
}

absl::StatusOr<ExitCode> Fingerprint(const DirectoryFlags& flags) {
  const auto hash = FingerprintDirectory(flags.directory, NumUsableCpus());
  LIQUID_RETURN_IF_ERROR(AsCheckpointError(hash.status()));
  PrintLine(flags.json ? ToJsonLine({{"directory", flags.directory}, {"fingerprint", ToHex(*hash)}})
                       : ToHex(*hash));
  return ExitCode::kOk;
}

}  // namespace

std::vector<Verb> AddProofVerbs(CLI::App& liquid) {
  std::vector<Verb> verbs;
  const auto add = [&](const char* name, const char* what,
                       absl::StatusOr<ExitCode> (*run)(const DirectoryFlags&)) {
    auto flags = std::make_shared<DirectoryFlags>();
    CLI::App* app = liquid.add_subcommand(name, what);
    app->add_option("DIR", flags->directory, "a checkpoint, or any Hugging Face model directory")
        ->required();
    app->add_flag("--json", flags->json, "answer in JSON");
    verbs.push_back({app, [flags, run] { return run(*flags); }});
  };
  add("verify", "Checks every checksum of a checkpoint.", Verify);
  add("fingerprint", "Prints the 128-bit hash of all weights, whatever the number of files.",
      Fingerprint);
  return verbs;
}

}  // namespace liquid
