// export: weights for other programs, without what only training needs.
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "checkpoint/export.h"
#include "checkpoint/parallel_loop.h"
#include "cli/terminal.h"
#include "cli/verbs.h"
#include "proto/job_fields.h"

namespace liquid {
namespace {

struct ExportFlags {
  std::string directory;
  std::string out;
  std::string dtype;
  std::string max_shard_bytes = "5GB";
  std::string base;
  bool json = false;
};

absl::StatusOr<ExitCode> Export(const ExportFlags& flags) {
  ExportOptions options;
  options.num_threads = NumUsableCpus();
  options.base = flags.base;
  if (!flags.dtype.empty()) options.dtype = flags.dtype == "bf16" ? DType::kBF16 : DType::kF32;
  if (!ParseBytes(flags.max_shard_bytes, &options.max_shard_bytes)) {
    return WithExitCode(
        absl::InvalidArgumentError(absl::StrCat("--max-shard-bytes ", flags.max_shard_bytes,
                                                ": a number of bytes, as 5GB or 100000")),
        ExitCode::kBadConfig);
  }
  const auto report = ExportModel(flags.directory, flags.out, options);
  if (absl::IsAlreadyExists(report.status())) {
    return WithExitCode(report.status(), ExitCode::kBadConfig);
  }
  if (absl::IsResourceExhausted(report.status())) return report.status();
  if (!report.ok()) return WithExitCode(report.status(), ExitCode::kCheckpoint);
  PrintLine(flags.json ? ToJsonLine({{"directory", flags.out},
                                     {"files", report->num_files},
                                     {"tensors", report->num_tensors},
                                     {"bytes", report->num_bytes}})
                       : absl::StrCat(flags.out, ": ", report->num_tensors, " tensors, ",
                                      report->num_bytes, " bytes in ", report->num_files,
                                      report->num_files == 1 ? " file" : " files"));
  return ExitCode::kOk;
}

}  // namespace

Verb AddExportVerb(CLI::App& liquid) {
  auto flags = std::make_shared<ExportFlags>();
  CLI::App* app = liquid.add_subcommand(
      "export", "Writes a model directory with the weights alone, cast and cut into files.");
  app->add_option("DIR", flags->directory, "a checkpoint, or any Hugging Face model directory")
      ->required();
  app->add_option("OUT", flags->out, "a directory that is not there yet")->required();
  app->add_option("--dtype", flags->dtype, "of the weights; else as they are stored")
      ->check(CLI::IsMember({"bf16", "f32"}));
  app->add_option("--max-shard-bytes", flags->max_shard_bytes, "the most bytes in one file")
      ->capture_default_str();
  app->add_option("--base", flags->base,
                  "model directory whose other tensors are carried through (a multimodal model's "
                  "towers)");
  app->add_flag("--json", flags->json, "answer in JSON");
  return {app, [flags] { return Export(*flags); }};
}

}  // namespace liquid
