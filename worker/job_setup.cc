#include "worker/job_setup.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/check.h"
#include "base/exit_code.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/status.h"
#include "checkpoint/fingerprint.h"
#include "checkpoint/parallel_loop.h"
#include "data/job_options.h"
#include "data/mixture.h"
#include "data/prepare.h"
#include "model/model_config.h"
#include "model/weights.h"
#include "worker/gang_member.h"

namespace liquid {
namespace {

absl::Status CheckFits(const Job& job, const ModelConfig& config, const Dataset& dataset) {
  if (dataset.vocab_size() > config.vocab_size) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the tokenizer ", job.model().tokenizer(), " has ids up to ", dataset.vocab_size() - 1,
        ", but the model of ", ConfigPath(job), " has a vocab_size of ", config.vocab_size));
  }
  return absl::OkStatus();
}

// Collectives between tensor ranks give each of them equally many tokens.
absl::Status CheckSlotDivides(const Job& job, int64_t sequence_length) {
  const int64_t rows = job.training().rows_per_slot();
  const int64_t tensor_parallel = job.model().tensor_parallel();
  const int64_t rest = rows * sequence_length % tensor_parallel;
  if (rest == 0) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "a slot of ", rows, " x ", sequence_length, " = ", rows * sequence_length,
      " tokens cannot be spread over ", tensor_parallel, " tensor-parallel ranks: ", rest,
      " are left; set data.sequence_length or training.rows_per_slot to a multiple"));
}

// Collective: the dataset of that part.
absl::StatusOr<Dataset> PrepareAndOpen(const Job& job, JobPart part, Communicator& world) {
  const char* what = part == JobPart::kTrain ? "training" : "eval";
  const auto prepare = [&]() -> absl::StatusOr<std::string> {
    LIQUID_ASSIGN_OR_RETURN(const PrepareOptions options, PrepareOptionsOf(job, part));
    LIQUID_ASSIGN_OR_RETURN(const PrepareReport report, PrepareDataset(options));
    LogInfo(what, " data", report.reused ? " (prepared before): " : ": ",
            PrepareReportText(report));
    return report.path;
  };
  LIQUID_ASSIGN_OR_RETURN(
      const std::string path,
      ShareFromLeader(world, world.rank() == 0 ? prepare() : absl::StatusOr<std::string>("")));
  absl::StatusOr<Dataset> dataset = Dataset::Open(path, Dataset::Verify::kIndexOnly);
  LIQUID_RETURN_IF_ERROR(AgreeOn(world, dataset.status()));
  return dataset;
}

absl::Status AsDataError(const absl::Status& status) {
  return absl::IsResourceExhausted(status) ? status : WithExitCode(status, ExitCode::kData);
}

}  // namespace

std::string ConfigPath(const Job& job) {
  return job.model().config().empty() ? JoinPath(job.model().from(), "config.json")
                                      : job.model().config();
}

DType PrecisionOf(const Job& job) {
  return job.training().precision() == "bf16" ? DType::kBF16 : DType::kF32;
}

GradientSum::Options SumOptionsOf(const Job& job, const Model& model) {
  GradientSum::Options options;
  options.kind =
      job.training().gradient_sum() == "exact" ? GradientSumKind::kExact : GradientSumKind::kFast;
  options.is_sharded = job.training().shard() == "gradients";
  options.slots_per_step = job.training().slots_per_step();
  for (const Parameter& parameter : model.parameters()) {
    options.num_holders.push_back(parameter.part.num_holders);
  }
  return options;
}

Recompute RecomputeOf(const Job& job) {
  return job.model().recompute() == "block" ? Recompute::kBlock : Recompute::kNone;
}

absl::Status CheckRowsFit(const Job& job, const ModelConfig& config) {
  const int64_t length = job.data().sequence_length();
  if (length > config.max_position_embeddings) {
    return absl::InvalidArgumentError(
        absl::StrCat("data.sequence_length is ", length, ", but the model of ", ConfigPath(job),
                     " has max_position_embeddings ", config.max_position_embeddings));
  }
  return CheckSlotDivides(job, length);
}

absl::StatusOr<JobStream> JobStreamOf(const Job& job, int64_t num_rows,
                                      const std::vector<MixturePart>& mixture) {
  const Training& training = job.training();
  const bool shuffle = job.data().shuffle();
  LIQUID_ASSIGN_OR_RETURN(const std::vector<RowSource> sources, MixedSources(job.data(), mixture));
  return JobStream(sources.empty() ? EpochOrder(training.seed(), num_rows, shuffle)
                                   : EpochOrder(training.seed(), sources, shuffle),
                   training.epochs(), training.slots_per_step(), training.rows_per_slot());
}

JobStream JobStreamOf(const Job& job, const Dataset& dataset) {
  absl::StatusOr<JobStream> stream = JobStreamOf(job, dataset.num_rows(), dataset.mixture());
  LIQUID_CHECK(stream.ok(), stream.status().ToString());
  return *std::move(stream);
}

absl::StatusOr<JobData> PrepareJobData(const Job& job, Communicator& world) {
  absl::StatusOr<Dataset> train = PrepareAndOpen(job, JobPart::kTrain, world);
  if (!train.ok()) return AsDataError(train.status());
  const absl::Status mixed = MixedSources(job.data(), train->mixture()).status();
  if (!mixed.ok()) return AsDataError(mixed);
  JobData data{*std::move(train), std::nullopt};
  if (job.data().eval().empty()) return data;
  absl::StatusOr<Dataset> eval = PrepareAndOpen(job, JobPart::kEval, world);
  if (!eval.ok()) return AsDataError(eval.status());
  data.eval = *std::move(eval);
  return data;
}

absl::StatusOr<std::unique_ptr<Model>> CreateJobModel(const Job& job, const JobData& data,
                                                      const GangMesh& mesh, Ops& ops,
                                                      Stream& stream, TensorPool& pool) {
  const auto create = [&]() -> absl::StatusOr<std::unique_ptr<Model>> {
    LIQUID_ASSIGN_OR_RETURN(const ModelConfig config, LoadModelConfig(ConfigPath(job)));
    LIQUID_RETURN_IF_ERROR(CheckFits(job, config, data.train));
    LIQUID_RETURN_IF_ERROR(CheckRowsFit(job, config));
    return CreateModel(config, ops, stream, pool,
                       {.group = &mesh.tensor(),
                        .sequence = job.model().sequence_parallel(),
                        .num_replicas = mesh.num_replicas()},
                       PrecisionOf(job), TuningOf(job));
  };
  absl::StatusOr<std::unique_ptr<Model>> model = create();
  LIQUID_RETURN_IF_ERROR(AgreeOn(mesh.gang(), model.status()));
  return model;
}

Tuning TuningOf(const Job& job) {
  Tuning tuning;
  tuning.freeze = {job.training().freeze().begin(), job.training().freeze().end()};
  tuning.neftune_alpha = static_cast<float>(job.training().neftune_alpha());
  const Adapter& adapter = job.adapter();
  if (adapter.rank() == 0) return tuning;
  tuning.adapter = {
      .rank = adapter.rank(),
      .alpha = adapter.alpha(),
      .target_modules = {adapter.target_modules().begin(), adapter.target_modules().end()},
      .use_rslora = adapter.use_rslora(),
      .dropout = adapter.dropout()};
  return tuning;
}

bool HasFrozen(const Model& model) { return model.frozen_weights().data != nullptr; }

absl::Status SetStartingWeights(const Job& job, Communicator& world, Model& model) {
  InitializeAdapters(job.training().seed(), model);
  if (job.model().from().empty()) {
    InitializeWeights(job.model().init_seed(), model);
    return absl::OkStatus();
  }
  std::vector<std::string> ignored;
  const absl::Status status = AgreeOn(world, LoadWeights(job.model().from(), model, &ignored));
  if (!status.ok()) return WithExitCode(status, ExitCode::kCheckpoint);
  if (!ignored.empty() && world.rank() == 0) {
    LogWarning(job.model().from(), ": tensors that this model does not have are left out: ",
               absl::StrJoin(ignored, " "));
  }
  return absl::OkStatus();
}

int64_t NumParameters(const Model& model) {
  int64_t total = 0;
  for (const Parameter& parameter : model.parameters()) {
    if (parameter.trains) total += parameter.shape.NumElements();
  }
  return total;
}

namespace {

// Collective: of the weights that adapters go with, which no checkpoint or fingerprint has.
absl::StatusOr<std::string> FingerprintOfBase(const std::string& directory, Communicator& world) {
  const auto hash = [&]() -> absl::StatusOr<std::string> {
    LIQUID_ASSIGN_OR_RETURN(const Hash128 base, FingerprintDirectory(directory, NumUsableCpus()));
    return absl::StrCat("; base ", ToHex(base));
  };
  return ShareFromLeader(world, world.rank() == 0 ? hash() : absl::StatusOr<std::string>(""));
}

}  // namespace

absl::StatusOr<std::string> JobRecipe(const Job& job, const Ops& ops, Communicator& world) {
  const absl::StatusOr<std::string> config = ReadFile(ConfigPath(job));
  LIQUID_RETURN_IF_ERROR(AgreeOn(world, config.status()));
  std::string base;
  if (job.adapter().rank() > 0 && !job.model().from().empty()) {
    LIQUID_ASSIGN_OR_RETURN(base, FingerprintOfBase(job.model().from(), world));
  }
  const std::string mine =
      absl::StrCat(ops.Recipe(PrecisionOf(job)), "; slot ", job.training().rows_per_slot(), "x",
                   job.data().sequence_length(), "; config ", ToHex(HashBytes(*config)),
                   "; tensor parallel ", job.model().tensor_parallel(),
                   job.model().sequence_parallel() ? " with sequences" : "", base);
  LIQUID_ASSIGN_OR_RETURN(const std::vector<std::string> all, world.AllGatherMessages(mine));
  const auto tensor_size = static_cast<size_t>(job.model().tensor_parallel());
  for (size_t rank = tensor_size; rank < all.size(); ++rank) {
    const size_t first = rank % tensor_size;  // of the same part of the model
    if (all[rank] == all[first]) continue;
    return absl::FailedPreconditionError(absl::StrCat(
        "rank ", rank, " computes by the recipe '", all[rank], "', rank ", first, " by '",
        all[first], "': start the gang on machines and files that are alike"));
  }
  // Parts of a vocabulary may differ in size, and so in what is chosen for them.
  std::vector<std::string> parts(all.begin(), all.begin() + static_cast<int64_t>(tensor_size));
  parts.erase(std::unique(parts.begin(), parts.end()), parts.end());
  return absl::StrJoin(parts, "; and ");
}

}  // namespace liquid
