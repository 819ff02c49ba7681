#include "worker/checkpointing.h"

#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "base/exit_code.h"
#include "base/file.h"
#include "base/log.h"
#include "base/random.h"
#include "base/status.h"
#include "checkpoint/adapter_config.h"
#include "checkpoint/catalog.h"
#include "checkpoint/parallel_loop.h"
#include "checkpoint/writer.h"
#include "proto/eval_report.h"
#include "worker/gang_member.h"
#include "worker/held_state.h"
#include "worker/job_setup.h"

namespace liquid {
namespace {

std::string RootOf(const Job& job) { return JoinPath(job.output(), "checkpoints"); }

// With the chat template that the model was trained by. Adapters have their own configuration,
// which names the model that they go with.
std::vector<CompanionFile> CompanionsOf(const Job& job, const Model& model) {
  const bool is_whole = model.adapter() == nullptr;
  std::vector<CompanionFile> files =
      FindCompanionFiles(is_whole ? ConfigPath(job) : "", job.model().tokenizer());
  if (const std::string& chat_template = job.data().chat_template(); !chat_template.empty()) {
    std::erase_if(files, [](const CompanionFile& file) { return file.name == kChatTemplateName; });
    files.push_back({chat_template, std::string(kChatTemplateName)});
  }
  if (is_whole) return files;
  AdapterConfig adapter = *model.adapter();
  adapter.base_model = job.model().from();
  files.push_back({"", std::string(kAdapterConfigName), WriteAdapterConfig(adapter)});
  return files;
}

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

}  // namespace

void Checkpointing::PointLatestAtRestored() const {
  const std::string root = RootOf(job_);
  if (world_.rank() != 0 || !FileExists(root)) return;
  const int64_t step = restored_.has_value() ? restored_->step() : 0;
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
  if (resume == "never") return std::string();
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
      return origin_.parent;
    }
    const bool damaged = absl::IsDataLoss(status) || absl::IsNotFound(status);
    if (resume != "auto" || !damaged) return WithExitCode(status, ExitCode::kCheckpoint);
    if (world_.rank() == 0) LogWarning("passed over: ", status.message());
  }
  state.Reset();  // one that was passed over may have left its traces
  return std::string();
}

// Into the tensors of `state`; after an error they hold anything.
absl::StatusOr<CheckpointReader> Checkpointing::Load(const std::string& directory,
                                                     const TrainState& state) const {
  LIQUID_ASSIGN_OR_RETURN(CheckpointReader reader, CheckpointReader::Open(directory));
  LIQUID_RETURN_IF_ERROR(RefuseOtherOrigin(reader.state(), origin_, directory));
  LIQUID_RETURN_IF_ERROR(reader.ReadParts(HeldStateOf(state).parts, NumUsableCpus()));
  state.on_host.StoreAll();
  state.on_host.Wait();
  return reader;
}

absl::Status Checkpointing::Prepare(const TrainState& state) {
  // Of gangs on any machine that write into one directory.
  const auto number = static_cast<uint32_t>(RandomBits());
  LIQUID_ASSIGN_OR_RETURN(
      writer_,
      world_.BroadcastMessage(absl::StrCat(absl::Hex(number, absl::kZeroPad8)), /*root=*/0));
  HeldState held = HeldStateOf(state);
  if (const AdapterConfig* adapter = state.model.adapter(); adapter != nullptr) {
    // PEFT wants adapters in one file.
    LIQUID_ASSIGN_OR_RETURN(plan_, MakeCheckpointPlan(held.model, held.optimizer, /*no limit*/ 0,
                                                      std::string(kAdapterStem)));
  } else {
    LIQUID_ASSIGN_OR_RETURN(
        plan_, MakeCheckpointPlan(held.model, held.optimizer, job_.checkpoint().max_shard_bytes()));
  }
  LIQUID_ASSIGN_OR_RETURN(const std::vector<PlacedBox> mine, PlaceParts(plan_, held.parts));
  LIQUID_ASSIGN_OR_RETURN(const std::vector<std::string> messages,
                          world_.AllGatherMessages(EncodeBoxes(mine)));
  std::vector<std::vector<PlacedBox>> boxes;
  for (const std::string& message : messages) boxes.push_back(DecodeBoxes(message));
  LIQUID_ASSIGN_OR_RETURN(assignment_, AssignWrites(plan_, boxes, world_.rank()));
  snapshot_.emplace(plan_, assignment_);
  parts_ = std::move(held.parts);
  allocation_.Start([this] { return snapshot_->Allocate(); });
  return absl::OkStatus();
}

absl::StatusOr<bool> Checkpointing::Begin(const TrainState& state) {
  LIQUID_CHECK(save_ == nullptr && snapshot_.has_value());
  if (state.applied_step == saved_step_) return false;
  begin_ = absl::Now();
  is_committed_ = false;
  CheckpointSave::Request request;
  request.root = RootOf(job_);
  request.state = origin_;
  request.state.step = state.applied_step;
  request.state.stream_position = stream_.StreamEnd(state.applied_step);
  request.state.epoch = request.state.stream_position / stream_.order().epoch_length();
  const bool is_evaluated =
      evaluated_.target_tokens() > 0 && evaluated_.step() == state.applied_step;
  if (is_evaluated && std::isfinite(evaluated_.loss())) {
    request.state.eval_loss = evaluated_.loss();
    request.state.eval_accuracy = Accuracy(evaluated_);
  }
  LIQUID_CHECK(FromHex(state.fingerprint, &request.state.weights_fingerprint), state.fingerprint);
  request.companions = CompanionsOf(job_, state.model);
  request.writer = writer_;
  const CheckpointPolicy& policy = job_.checkpoint();
  request.retention = {policy.keep_last(), policy.keep_every_steps(), policy.keep_best()};
  absl::Status ready = allocation_.Wait();
  if (ready.ok()) {
    state.on_host.FetchAll();
    state.on_host.Wait();
    snapshot_->Take(parts_);
  }
  save_ = std::make_unique<CheckpointSave>(plan_, assignment_, *snapshot_, world_,
                                           std::move(request), std::move(ready));
  stall_ = absl::Now() - begin_;
  return true;
}

std::optional<absl::Status> Checkpointing::Poll() {
  return save_ == nullptr ? std::nullopt : save_->Poll();
}

absl::StatusOr<std::optional<SaveResult>> Checkpointing::Advance(const absl::Status& all) {
  const absl::Time start = absl::Now();
  LIQUID_ASSIGN_OR_RETURN(const bool is_over, save_->Advance(all, is_committed_));
  stall_ += absl::Now() - start;
  if (!is_over) return std::optional<SaveResult>();
  return std::optional<SaveResult>(TakeResult());
}

SaveResult Checkpointing::TakeResult() {
  const auto& committed = save_->result();
  SaveResult result;
  result.failure = committed.status();
  result.stall = stall_;
  CheckpointReport& report = result.report;
  report.set_step(save_->step());
  report.set_error(std::string(committed.status().message()));
  report.set_seconds(absl::ToDoubleSeconds(absl::Now() - begin_));
  if (committed.ok()) {
    for (const std::string& warning : committed->warnings) LogWarning(warning);
    report.set_directory(committed->name);
    report.set_manifest_digest(committed->manifest_digest);
    report.set_num_bytes(committed->num_bytes);
    saved_step_ = save_->step();
  }
  save_.reset();
  return result;
}

absl::StatusOr<SaveResult> Checkpointing::Finish(const std::function<absl::Status()>& may_publish) {
  const absl::Time start = absl::Now();
  while (true) {
    absl::Status all = AgreeOn(world_, save_->Wait());
    LIQUID_RETURN_IF_ERROR(world_.Wait(absl::InfiniteFuture()));
    if (all.ok() && save_->is_written() && !is_committed_) {
      all = AgreeOn(world_, world_.rank() == 0 ? may_publish() : absl::OkStatus());
      LIQUID_RETURN_IF_ERROR(world_.Wait(absl::InfiniteFuture()));
      if (absl::IsAborted(all)) return SaveResult{.report = {}, .failure = all, .stall = {}};
      is_committed_ = all.ok();
    }
    LIQUID_ASSIGN_OR_RETURN(const bool is_over, save_->Advance(all, is_committed_));
    if (!is_over) continue;
    stall_ += absl::Now() - start;
    return TakeResult();
  }
}

}  // namespace liquid
