#include "cli/job_check.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "base/exit_code.h"
#include "base/file.h"
#include "base/status.h"
#include "model/model_config.h"

namespace liquid {
namespace {

absl::Status CheckThere(const std::string& path, const std::string& key, ExitCode code) {
  if (FileExists(path)) return absl::OkStatus();
  return WithExitCode(absl::NotFoundError(absl::StrCat(key, ": there is no ", path)), code);
}

absl::Status CheckModel(const Job& job) {
  const bool from_directory = job.model().config().empty();
  const std::string path =
      from_directory ? JoinPath(job.model().from(), "config.json") : job.model().config();
  LIQUID_RETURN_IF_ERROR(CheckThere(path, from_directory ? "model.from" : "model.config",
                                    from_directory ? ExitCode::kCheckpoint : ExitCode::kBadConfig));
  LIQUID_ASSIGN_OR_RETURN(const ModelConfig config, LoadModelConfig(path));
  if (job.data().sequence_length() > config.max_position_embeddings) {
    return absl::InvalidArgumentError(absl::StrCat(
        "data.sequence_length is ", job.data().sequence_length(), ", but the model of ", path,
        " has max_position_embeddings ", config.max_position_embeddings));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckJobInputs(const Job& job) {
  LIQUID_RETURN_IF_ERROR(CheckModel(job));
  LIQUID_RETURN_IF_ERROR(CheckThere(JoinPath(job.model().tokenizer(), "tokenizer.json"),
                                    "model.tokenizer", ExitCode::kData));
  for (const std::string& path : job.data().train()) {
    LIQUID_RETURN_IF_ERROR(CheckThere(path, "data.train", ExitCode::kData));
  }
  for (const MixedSource& source : job.data().mix()) {
    for (const std::string& path : source.files()) {
      LIQUID_RETURN_IF_ERROR(CheckThere(path, "data.mix", ExitCode::kData));
    }
  }
  for (const std::string& path : job.data().eval()) {
    LIQUID_RETURN_IF_ERROR(CheckThere(path, "data.eval", ExitCode::kData));
  }
  if (!job.data().chat_template().empty()) {
    LIQUID_RETURN_IF_ERROR(
        CheckThere(job.data().chat_template(), "data.chat_template", ExitCode::kData));
  }
  const std::string& resume = job.checkpoint().resume();
  if (resume == "auto" || resume == "never") return absl::OkStatus();
  return CheckThere(resume, "checkpoint.resume", ExitCode::kCheckpoint);
}

}  // namespace liquid
