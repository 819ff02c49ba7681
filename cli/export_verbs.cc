// export and merge: weights for other programs, without what only training needs.
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status.h"
#include "checkpoint/adapter_config.h"
#include "checkpoint/export.h"
#include "checkpoint/parallel_loop.h"
#include "cli/base_model.h"
#include "cli/terminal.h"
#include "cli/verbs.h"
#include "proto/job_fields.h"

namespace liquid {
namespace {

struct ExportFlags {
  std::string directory;  // of the model, or of adapters
  std::string out;
  std::string dtype;
  std::string max_shard_bytes = "5GB";
  std::string base;
  bool json = false;
};

absl::Status AsExportError(const absl::Status& status) {
  if (absl::IsAlreadyExists(status)) return WithExitCode(status, ExitCode::kBadConfig);
  if (status.ok() || absl::IsResourceExhausted(status)) return status;
  return WithExitCode(status, ExitCode::kCheckpoint);
}

// Writes the model in `directory` as flags and `options` say.
absl::StatusOr<ExitCode> Write(const ExportFlags& flags, const std::string& directory,
                               ExportOptions options) {
  options.num_threads = NumUsableCpus();
  if (!flags.dtype.empty()) options.dtype = flags.dtype == "bf16" ? DType::kBF16 : DType::kF32;
  if (!ParseBytes(flags.max_shard_bytes, &options.max_shard_bytes)) {
    return WithExitCode(
        absl::InvalidArgumentError(absl::StrCat("--max-shard-bytes ", flags.max_shard_bytes,
                                                ": a number of bytes, as 5GB or 100000")),
        ExitCode::kBadConfig);
  }
  const auto report = ExportModel(directory, flags.out, options);
  LIQUID_RETURN_IF_ERROR(AsExportError(report.status()));
  PrintLine(flags.json ? ToJsonLine({{"directory", flags.out},
                                     {"files", report->num_files},
                                     {"tensors", report->num_tensors},
                                     {"bytes", report->num_bytes}})
                       : absl::StrCat(flags.out, ": ", report->num_tensors, " tensors, ",
                                      report->num_bytes, " bytes in ", report->num_files,
                                      report->num_files == 1 ? " file" : " files"));
  return ExitCode::kOk;
}

absl::StatusOr<ExitCode> Export(const ExportFlags& flags) {
  if (HasAdapterConfig(flags.directory)) {
    return WithExitCode(
        absl::InvalidArgumentError(absl::StrCat(flags.directory,
                                                " holds adapters: `liquid merge` makes a model of "
                                                "them, and they can be used as they are")),
        ExitCode::kBadConfig);
  }
  return Write(flags, flags.directory, {.base = flags.base});
}

absl::StatusOr<ExitCode> Merge(const ExportFlags& flags) {
  const auto config = ReadAdapterConfig(flags.directory);
  LIQUID_RETURN_IF_ERROR(AsExportError(config.status()));
  LIQUID_ASSIGN_OR_RETURN(const std::string base,
                          FindBaseModel(flags.directory, config->base_model, flags.base));
  return Write(flags, base, {.adapters = flags.directory});
}

void AddOutputOptions(CLI::App* app, ExportFlags* flags) {
  app->add_option("OUT", flags->out, "a directory that is not there yet")->required();
  app->add_option("--dtype", flags->dtype, "of the weights; else as they are stored")
      ->check(CLI::IsMember({"bf16", "f32"}));
  app->add_option("--max-shard-bytes", flags->max_shard_bytes, "the most bytes in one file")
      ->capture_default_str();
  app->add_flag("--json", flags->json, "answer in JSON");
}

}  // namespace

std::vector<Verb> AddExportVerbs(CLI::App& liquid) {
  auto exported = std::make_shared<ExportFlags>();
  CLI::App* app = liquid.add_subcommand(
      "export", "Writes a model directory with the weights alone, cast and cut into files.");
  app->add_option("DIR", exported->directory, "a checkpoint, or any Hugging Face model directory")
      ->required();
  AddOutputOptions(app, exported.get());
  app->add_option("--base", exported->base,
                  "model directory whose other tensors are carried through (a multimodal model's "
                  "towers)");
  auto merged = std::make_shared<ExportFlags>();
  CLI::App* merge = liquid.add_subcommand(
      "merge", "Writes a model directory with adapters added to the weights of their base model.");
  merge
      ->add_option("ADAPTERS", merged->directory, "a checkpoint of adapters, or any PEFT directory")
      ->required();
  AddOutputOptions(merge, merged.get());
  merge->add_option("--base", merged->base,
                    "directory of the base model; else the one that ADAPTERS names");
  return {{app, [exported] { return Export(*exported); }},
          {merge, [merged] { return Merge(*merged); }}};
}

}  // namespace liquid
