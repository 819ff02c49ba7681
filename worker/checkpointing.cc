#include "worker/checkpointing.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "base/exit_code.h"
#include "base/file.h"
#include "base/log.h"
#include "base/status.h"
#include "checkpoint/catalog.h"
#include "checkpoint/writer.h"
#include "worker/gang_member.h"
#include "worker/job_setup.h"

namespace liquid {
namespace {

// Names of AdamW's state in the optimizer's files, as torch calls it.
constexpr char kExpAvg[] = "exp_avg.";
constexpr char kExpAvgSq[] = "exp_avg_sq.";

struct StateTensor {
  TensorSpec spec;
  void* data;
};

std::vector<StateTensor> ModelTensors(const TrainState& state) {
  std::vector<StateTensor> tensors;
  for (const Parameter& parameter : state.model.parameters()) {
    tensors.push_back({SpecOf(parameter), parameter.value.data});
  }
  return tensors;
}

std::vector<StateTensor> OptimizerTensors(const TrainState& state) {
  std::vector<StateTensor> tensors;
  for (size_t i = 0; i < state.exp_avg.size(); ++i) {
    TensorSpec spec = SpecOf(state.model.parameters()[i]);
    const std::string name = spec.name;
    spec.name = kExpAvg + name;
    tensors.push_back({spec, state.exp_avg[i].view().data});
    spec.name = kExpAvgSq + name;
    tensors.push_back({spec, state.exp_avg_sq[i].view().data});
  }
  return tensors;
}

std::vector<TensorSpec> SpecsOf(const std::vector<StateTensor>& tensors) {
  std::vector<TensorSpec> specs;
  for (const StateTensor& tensor : tensors) specs.push_back(tensor.spec);
  return specs;
}

std::string RootOf(const Job& job) { return JoinPath(job.output(), "checkpoints"); }

int NumThreads() { return static_cast<int>(std::max(1u, std::thread::hardware_concurrency())); }

absl::Status RefuseOtherOrigin(const TrainingState& stored, const TrainingState& mine,
                               const std::string& directory) {
  const auto refuse = [&](const char* what, const std::string& theirs, const std::string& ours) {
    return WithExitCode(
        absl::FailedPreconditionError(absl::StrCat(
            directory, " was saved by a job with ", what, " ", theirs, ", this job's is ", ours,
            "; to start anew from its weights give it as model.from with another `output`")),
        ExitCode::kCheckpoint);
  };
  if (stored.job_digest != mine.job_digest) {
    return refuse("settings of digest", stored.job_digest, mine.job_digest);
  }
  if (stored.dataset_digest != mine.dataset_digest) {
    return refuse("training data of digest", stored.dataset_digest, mine.dataset_digest);
  }
  return absl::OkStatus();
}

// A piece's checksums as the bytes of a message, and back.
std::string ToBytes(const std::vector<PieceChecksum>& checksums) {
  return std::string(reinterpret_cast<const char*>(checksums.data()),
                     checksums.size() * sizeof(PieceChecksum));
}

std::vector<PieceChecksum> FromBytes(const std::vector<std::string>& messages) {
  std::vector<PieceChecksum> all;
  for (const std::string& message : messages) {
    const size_t count = message.size() / sizeof(PieceChecksum);
    all.resize(all.size() + count);
    if (count > 0) std::memcpy(&all[all.size() - count], message.data(), message.size());
  }
  return all;
}

}  // namespace

// From where this run goes on. Later saves only move it forward.
void Checkpointing::PointLatest(int64_t step) const {
  const std::string root = RootOf(job_);
  if (world_.rank() != 0 || !FileExists(root)) return;
  const std::string target = JoinPath(root, CheckpointName(step));
  if (step > 0 && !FileExists(target)) return;  // it was another directory's
  if (const absl::Status status = PointLatestAt(root, step); !status.ok()) {
    LogWarning(status.message());
  }
}

absl::StatusOr<std::string> Checkpointing::Restore(int64_t committed_step, TrainState& state) {
  restored_.reset();
  saved_step_ = 0;
  const std::string& resume = job_.checkpoint().resume();
  if (resume == "never") {
    PointLatest(0);
    return std::string();
  }
  // Rank 0 looks, so that all try the same ones: newest first.
  std::string candidates = resume;
  if (resume == "auto") {
    const auto list = [&]() -> absl::StatusOr<std::string> {
      LIQUID_ASSIGN_OR_RETURN(const CheckpointCatalog catalog, ListCheckpoints(RootOf(job_)));
      for (const std::string& skipped : catalog.skipped) LogWarning("passed over: ", skipped);
      std::string paths;
      for (const CheckpointEntry& entry : catalog.complete) {
        if (entry.step <= committed_step) absl::StrAppend(&paths, entry.path, "\n");
      }
      return paths;
    };
    LIQUID_ASSIGN_OR_RETURN(
        candidates,
        ShareFromLeader(world_, world_.rank() == 0 ? list() : absl::StatusOr<std::string>("")));
  }
  for (const absl::string_view candidate : absl::StrSplit(candidates, '\n', absl::SkipEmpty())) {
    const std::string directory(candidate);
    const absl::StatusOr<CheckpointReader> reader = Load(directory, state);
    const absl::Status status = AgreeOn(world_, reader.status());
    if (status.ok()) {
      state.applied_step = saved_step_ = reader->state().step;
      origin_.parent_manifest = reader->manifest_digest();
      origin_.parent = CheckpointName(saved_step_);
      CheckpointReport& report = restored_.emplace();
      report.set_step(saved_step_);
      report.set_directory(origin_.parent);
      report.set_manifest_digest(origin_.parent_manifest);
      PointLatest(saved_step_);
      return origin_.parent;
    }
    const bool damaged = absl::IsDataLoss(status) || absl::IsNotFound(status);
    if (resume != "auto" || !damaged) return WithExitCode(status, ExitCode::kCheckpoint);
    if (world_.rank() == 0) LogWarning("passed over: ", status.message());
  }
  state.Reset();  // one that was passed over may have left its traces
  PointLatest(0);
  return std::string();
}

// Into the tensors of `state`; after an error they hold anything.
absl::StatusOr<CheckpointReader> Checkpointing::Load(const std::string& directory,
                                                     const TrainState& state) const {
  LIQUID_ASSIGN_OR_RETURN(CheckpointReader reader, CheckpointReader::Open(directory));
  LIQUID_RETURN_IF_ERROR(RefuseOtherOrigin(reader.state(), origin_, directory));
  std::vector<TensorRead> reads;
  for (const auto& tensors : {ModelTensors(state), OptimizerTensors(state)}) {
    for (const StateTensor& tensor : tensors) reads.push_back({tensor.spec, tensor.data});
  }
  LIQUID_RETURN_IF_ERROR(reader.Read(reads, NumThreads()));
  return reader;
}

absl::StatusOr<std::optional<SaveResult>> Checkpointing::Save(
    const TrainState& state, const std::function<absl::Status()>& may_publish) {
  if (state.applied_step == saved_step_) return std::optional<SaveResult>();
  const absl::Time start = absl::Now();
  SaveResult result;
  absl::StatusOr<CheckpointReport> report = WriteAndCommit(state, may_publish);
  LIQUID_RETURN_IF_ERROR(world_.Wait(absl::InfiniteFuture()));
  result.failure = report.status();
  if (report.ok()) {
    result.report = *std::move(report);
    saved_step_ = state.applied_step;
  }
  result.report.set_step(state.applied_step);
  result.report.set_error(std::string(result.failure.message()));
  result.report.set_seconds(absl::ToDoubleSeconds(absl::Now() - start));
  return std::optional<SaveResult>(std::move(result));
}

absl::StatusOr<CheckpointReport> Checkpointing::WriteAndCommit(
    const TrainState& state, const std::function<absl::Status()>& may_publish) {
  const std::vector<StateTensor> model = ModelTensors(state);
  const std::vector<StateTensor> optimizer = OptimizerTensors(state);
  if (!plan_.has_value()) {
    LIQUID_ASSIGN_OR_RETURN(plan_, MakeCheckpointPlan(SpecsOf(model), SpecsOf(optimizer),
                                                      job_.checkpoint().max_shard_bytes()));
  }
  std::map<std::string, const std::byte*> bytes_by_name;
  for (const auto* tensors : {&model, &optimizer}) {
    for (const StateTensor& tensor : *tensors) {
      bytes_by_name[tensor.spec.name] = static_cast<const std::byte*>(tensor.data);
    }
  }
  const bool is_leader = world_.rank() == 0;
  CheckpointWriter writer(RootOf(job_), state.applied_step, *plan_,
                          FindCompanionFiles(ConfigPath(job_), job_.model().tokenizer()));
  // Whatever fails on any rank fails on all, and rank 0 cleans up.
  const auto agree = [&](const absl::Status& mine) {
    absl::Status all = AgreeOn(world_, mine);
    if (!all.ok() && is_leader) {
      const absl::Status abandoned = writer.Abandon();
      if (!abandoned.ok()) LogWarning(abandoned.message());
    }
    return all;
  };
  LIQUID_RETURN_IF_ERROR(agree(is_leader ? writer.Prepare() : absl::OkStatus()));
  const auto written = writer.WritePieces(
      PiecesOfRank(*plan_, world_.rank(), world_.size()),
      [&](const StoredTensor& tensor, int64_t first_byte, int64_t /*num_bytes*/) -> const void* {
        return bytes_by_name.at(tensor.spec.name) + first_byte;
      });
  LIQUID_RETURN_IF_ERROR(agree(written.status()));
  LIQUID_ASSIGN_OR_RETURN(const std::vector<std::string> messages,
                          world_.AllGatherMessages(ToBytes(*written)));

  CheckpointReport report;
  const auto commit = [&]() -> absl::Status {
    LIQUID_RETURN_IF_ERROR(may_publish());
    TrainingState saved = origin_;
    saved.step = state.applied_step;
    saved.stream_position = stream_.StreamEnd(state.applied_step);
    saved.epoch = saved.stream_position / stream_.order().num_rows();
    LIQUID_CHECK(FromHex(state.fingerprint, &saved.weights_fingerprint), state.fingerprint);
    const Retention retention{job_.checkpoint().keep_last(), job_.checkpoint().keep_every_steps()};
    LIQUID_ASSIGN_OR_RETURN(const CommittedCheckpoint committed,
                            writer.Commit(saved, FromBytes(messages), retention));
    for (const std::string& warning : committed.warnings) LogWarning(warning);
    report.set_directory(committed.name);
    report.set_manifest_digest(committed.manifest_digest);
    report.set_num_bytes(committed.num_bytes);
    return absl::OkStatus();
  };
  LIQUID_RETURN_IF_ERROR(agree(is_leader ? commit() : absl::OkStatus()));
  return report;
}

}  // namespace liquid
