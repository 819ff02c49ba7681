// What a job file asks for, made on every rank: prepared data, the model, its starting weights.
#ifndef LIQUID_WORKER_JOB_SETUP_H_
#define LIQUID_WORKER_JOB_SETUP_H_

#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "data/dataset.h"
#include "data/epoch_order.h"
#include "kernels/ops.h"
#include "model/model.h"
#include "parallel/gang_mesh.h"
#include "parallel/gradient_sum.h"
#include "proto/job.pb.h"
#include "tensor/pool.h"

namespace liquid {

// The model's config.json.
std::string ConfigPath(const Job& job);
// The type of its weights and activations.
DType PrecisionOf(const Job& job);
GradientSum::Options SumOptionsOf(const Job& job, const Model& model);
// What its backward passes compute again.
Recompute RecomputeOf(const Job& job);
// Its rows of `dataset`, in order, and their division into steps and slots. The dataset is one that
// PrepareJobData gave for the job.
JobStream JobStreamOf(const Job& job, const Dataset& dataset);
// The same of a dataset that is not at hand, of so many rows and with these parts. InvalidArgument
// as MixedSources.
absl::StatusOr<JobStream> JobStreamOf(const Job& job, int64_t num_rows,
                                      const std::vector<MixturePart>& mixture);

// Whether rows of data.sequence_length tokens fit the model's positions, and a slot of them can be
// spread over the tensor-parallel ranks. InvalidArgument, with the arithmetic.
absl::Status CheckRowsFit(const Job& job, const ModelConfig& config);

struct JobData {
  Dataset train;
  std::optional<Dataset> eval;
};

// Collective. Rank 0 tokenizes, masks and packs (or finds that it was done before); all ranks map
// the result, which is under OUTPUT/data. Errors end the program with ExitCode::kData.
absl::StatusOr<JobData> PrepareJobData(const Job& job, Communicator& world);

// Collective. The job's model, spread over `mesh`, weights not set. InvalidArgument if the data
// does not fit it: token ids beyond the vocabulary, rows longer than its positions, a slot whose
// tokens cannot be spread evenly; or as CreateModel.
absl::StatusOr<std::unique_ptr<Model>> CreateJobModel(const Job& job, const JobData& data,
                                                      const GangMesh& mesh, Ops& ops,
                                                      Stream& stream, TensorPool& pool);

// What of the job's model is trained.
Tuning TuningOf(const Job& job);
// Something of the model stays as it is in step 0. Other gangs do not send it with their state, and
// of a model with adapters checkpoints do not have it.
bool HasFrozen(const Model& model);

// Collective. The weights of step 0: read from model.from, or random from model.init_seed; adapters
// random from training.seed.
absl::Status SetStartingWeights(const Job& job, Communicator& world, Model& model);

int64_t NumParameters(const Model& model);

// Collective: what decides bits beside job and data: libraries, instruction set, shape of a slot,
// the content of the model's config.json. Gangs of one job must agree in it, and so must the
// replicas of a gang: FailedPrecondition, with both values, if one differs from the first.
absl::StatusOr<std::string> JobRecipe(const Job& job, const Ops& ops, Communicator& world);

}  // namespace liquid

#endif  // LIQUID_WORKER_JOB_SETUP_H_
