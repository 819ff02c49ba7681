#include "data/job_options.h"

#include "base/file.h"
#include "base/status.h"

namespace liquid {

absl::StatusOr<PrepareOptions> PrepareOptionsOf(const Job& job, JobPart part) {
  const auto& files = part == JobPart::kTrain ? job.data().train() : job.data().eval();
  PrepareOptions options;
  options.files.assign(files.begin(), files.end());
  if (part == JobPart::kTrain) {
    for (const MixedSource& source : job.data().mix()) {
      options.files.insert(options.files.end(), source.files().begin(), source.files().end());
      options.sources.push_back({source.name(), static_cast<size_t>(source.files_size())});
    }
  }
  options.sequence_length = job.data().sequence_length();
  options.packing = job.data().packing();
  LIQUID_ASSIGN_OR_RETURN(options.overlong, ParseOverlongPolicy(job.data().overlong()));
  options.max_bad_rows = job.data().max_bad_rows();
  options.tokenizer = job.model().tokenizer();
  options.chat_template = job.data().chat_template();
  LIQUID_ASSIGN_OR_RETURN(options.loss.loss_on, ParseLossOn(job.data().loss_on()));
  options.loss.stop_token = job.data().train_on_stop_token();
  options.cache = JoinPath(job.output(), "data");
  return options;
}

}  // namespace liquid
