#include "worker/train_step.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "base/check.h"
#include "base/exit_code.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/random.h"
#include "base/status.h"
#include "worker/gang_member.h"
#include "worker/job_setup.h"
#include "worker/learning_rate.h"
#include "worker/memory_plan.h"

namespace liquid {
namespace {

// Scalars that travel with the gradients.
enum Scalar { kLoss, kTokens, kFlops };
// Token and FLOP counts are far above the range of a fixed-point scalar; they are sent in these
// units.
constexpr double kTokenUnit = 1 << 20;
constexpr double kFlopUnit = 1e15;
// A model may be certain of fewer.
constexpr int64_t kMinTargetsOfZero = 16;

// The sum of `values` by a binary tree over their index: a function of the values alone.
double TreeSum(absl::Span<double> values) {
  for (size_t count = values.size(); count > 1; count = (count + 1) / 2) {
    for (size_t i = 0; i < count / 2; ++i) values[i] = values[2 * i] + values[2 * i + 1];
    if (count % 2 != 0) values[count / 2] = values[count - 1];
  }
  return values.empty() ? 0 : values[0];
}

}  // namespace

TrainStep::TrainStep(const Job& job, const JobStream& stream, const Dataset& dataset,
                     TrainState& state, Ops& ops, Stream& device_stream, TensorPool& pool,
                     double peak_flops, TestFaults faults)
    : job_(job),
      job_stream_(stream),
      dataset_(dataset),
      state_(state),
      ops_(ops),
      device_stream_(device_stream),
      pool_(pool),
      mesh_(state.mesh),
      world_(state.mesh.gang()),
      peak_flops_(peak_flops),
      faults_(faults),
      recompute_(RecomputeOf(job)),
      gradient_sum_(SumOptionsOf(job, state.model), state.model.layout(), state.mesh, ops,
                    device_stream, pool),
      reader_(dataset, job.training().rows_per_slot()),
      slots_(job.training().slots_per_step()),
      nll_(static_cast<size_t>(job.training().rows_per_slot()) * dataset.sequence_length()),
      norm_chunks_(pool.Allocate(DType::kF64, {state.model.layout().total() / kNormChunk})),
      host_chunks_(static_cast<size_t>(state.model.layout().total() / kNormChunk)) {
  static_assert(FlatLayout::kGrain % kNormChunk == 0);
}

absl::Status TrainStep::Take(const Plan& plan) {
  if (plan.step() != state_.applied_step + 1 || plan.step() > job_stream_.num_steps()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the coordinator plans step ", plan.step(), " of ", job_stream_.num_steps(),
                     " for a gang that has applied step ", state_.applied_step));
  }
  const bool is_new = plan.step() != slots_.step();
  LIQUID_ASSIGN_OR_RETURN(const bool keeps, slots_.Take(plan));
  plan_ = plan;
  if (!keeps) gradient_sum_.Clear();
  if (!is_new) return absl::OkStatus();
  begin_ = idle_since_ = absl::Now();
  compute_time_ = data_time_ = comm_time_ = absl::ZeroDuration();
  bad_rows_.clear();
  SetTargets(plan.step());
  if (target_weight_ > 0) return absl::OkStatus();
  return WithExitCode(
      absl::InvalidArgumentError(absl::StrCat("step ", plan.step(),
                                              ": none of its tokens is trained; look at the masks "
                                              "with `liquid inspect`")),
      ExitCode::kData);
}

SlotRanges TrainStep::GiveBack(int64_t step, const SlotRanges& ranges) {
  SlotRanges given = slots_.GiveBack(step, ranges);
  if (slots_.num_left() == 0) idle_since_ = absl::Now();
  return given;
}

void TrainStep::Forget() {
  if (!slots_.done().empty()) gradient_sum_.Clear();
  slots_.Forget();
}

absl::Status TrainStep::ComputeRound() {
  const absl::Time start = absl::Now();
  const std::vector<StepSlots::Task> tasks = slots_.Begin(mesh_.num_replicas());
  const auto replica = static_cast<size_t>(mesh_.replica());
  std::string digest;
  const Round round = {
      .folds = std::any_of(tasks.begin(), tasks.end(),
                           [](const StepSlots::Task& task) { return task.counts; }),
      .is_last = slots_.num_left() == 0};
  gradient_sum_.Reopen();
  if (replica < tasks.size()) {
    faults_.Mark("slot", slots_.step(), tasks[replica].slot);
    ComputeSlot(tasks[replica], round, &digest);
    absl::SleepFor(start + absl::Seconds(faults_.slot_seconds) - absl::Now());
  } else {
    FoldNothing(round);
  }
  const bool any_digest = std::any_of(
      tasks.begin(), tasks.end(), [](const StepSlots::Task& task) { return task.wants_digest; });
  std::vector<std::string> digests(tasks.size());
  if (any_digest) {
    LIQUID_ASSIGN_OR_RETURN(const std::vector<std::string> of_ranks,
                            world_.AllGatherMessages(std::move(digest)));
    for (size_t i = 0; i < tasks.size(); ++i) {
      digests[i] = DigestOfReplica(of_ranks, static_cast<int64_t>(i), mesh_.tensor_size());
    }
  }
  for (size_t i = 0; i < tasks.size(); ++i) slots_.Done(tasks[i], digests[i]);
  const bool counts = replica < tasks.size() && tasks[replica].counts;
  faults_.Linger("between", slots_.step(), counts ? tasks[replica].slot : -1);
  idle_since_ = absl::Now();
  compute_time_ += idle_since_ - start;
  return absl::OkStatus();
}

double TrainStep::slots_per_second() const {
  const double seconds = absl::ToDoubleSeconds(compute_time_);
  return seconds > 0 ? slots_.done().size() / seconds : 0;
}

void TrainStep::Fold(const Round& round, int index, const ConstTensorView* gradient) {
  if (gradient != nullptr) {
    gradient_sum_.Fold(index, *gradient);
  } else if (round.folds) {
    gradient_sum_.FoldNothing(index);
  }
  if (round.is_last) gradient_sum_.Close(index);
}

void TrainStep::FoldNothing(const Round& round) {
  for (const int index : state_.model.gradient_order()) Fold(round, index, nullptr);
}

// A planted fault: the exponent's lowest bit of one element of a product.
void TrainStep::FlipBit(const ConstTensorView& gradient) {
  auto* const element =
      static_cast<uint32_t*>(const_cast<void*>(gradient.data)) + gradient.NumElements() / 2;
  uint32_t bits = 0;
  device_stream_.CopyToHost(&bits, element, sizeof(bits));
  LIQUID_CHECK(device_stream_.Synchronize().ok());
  bits ^= uint32_t{1} << 23;
  device_stream_.CopyFromHost(element, &bits, sizeof(bits));
  LIQUID_CHECK(device_stream_.Synchronize().ok());
}

void TrainStep::ComputeSlot(const StepSlots::Task& task, const Round& round, std::string* digest) {
  std::vector<int64_t> rows;
  job_stream_.SlotRows(slots_.step(), task.slot, &rows);
  const bool is_empty = std::all_of(rows.begin(), rows.end(), [](int64_t row) { return row < 0; });
  if (is_empty) {
    *digest = ToHex(Hash128());
    FoldNothing(round);
    return;
  }
  const absl::Time read_start = absl::Now();
  const TokenBatch& batch = reader_.Read(rows, RowKeys(task.slot));
  data_time_ += absl::Now() - read_start;
  ++num_slots_;
  bool flip = faults_.flip_every > 0 && num_slots_ % faults_.flip_every == 0;
  Hash128 hash;
  const GradientSink sink = [&](int index, ConstTensorView gradient) {
    if (flip && gradient.shape.rank() == 2) {
      FlipBit(gradient);
      flip = false;
    }
    if (task.wants_digest) hash ^= HashGradient(state_, index, gradient);
    Fold(round, index, task.counts ? &gradient : nullptr);
  };
  const double loss_scale = 1.0 / target_weight_;
  // A recorded slot is one in which the host has nothing to do but to fold gradients.
  const bool is_plain = task.counts && !task.wants_digest && faults_.flip_every == 0 &&
                        mesh_.tensor_size() == 1 && gradient_sum_.only_enqueues() &&
                        !(round.is_last && gradient_sum_.overlaps());
  state_.model.ForwardBackward(batch, static_cast<float>(loss_scale), recompute_, sink,
                               absl::MakeSpan(nll_),
                               is_plain ? Repetition::kOfShape : Repetition::kNone);
  const absl::Status status = device_stream_.Synchronize();
  LIQUID_CHECK(status.ok(), status.ToString());
  *digest = ToHex(hash);
  if (!task.counts || mesh_.tensor_rank() != 0) return;
  const double loss = WeighedLoss(batch, nll_);
  if (!std::isfinite(loss)) bad_rows_.insert(bad_rows_.end(), rows.begin(), rows.end());
  int64_t tokens = 0;
  for (const int64_t row : rows) tokens += dataset_.Tokens(row);
  gradient_sum_.FoldScalar(kLoss, loss * loss_scale);
  gradient_sum_.FoldScalar(kTokens, static_cast<double>(tokens) / kTokenUnit);
  gradient_sum_.FoldScalar(kFlops, TrainingFlops(state_.model, batch) / kFlopUnit);
}

absl::StatusOr<std::string> TrainStep::Audit(int64_t step, int slot) {
  if (step != slots_.step() || slot < 0 || slot >= job_.training().slots_per_step()) {
    return absl::InvalidArgumentError(
        absl::StrCat("asked to audit slot ", slot, " of step ", step, " in step ", slots_.step()));
  }
  std::string digest;
  const int replica = slot % mesh_.num_replicas();
  if (mesh_.replica() == replica) {
    ComputeSlot({.slot = slot, .counts = false, .wants_digest = true}, /*round=*/{}, &digest);
  }
  LIQUID_ASSIGN_OR_RETURN(const std::vector<std::string> of_ranks,
                          world_.AllGatherMessages(std::move(digest)));
  return DigestOfReplica(of_ranks, replica, mesh_.tensor_size());
}

StepReport TrainStep::BeginReport() const {
  StepReport report;
  report.set_generation(plan_.generation());
  report.set_step(slots_.step());
  *report.mutable_slots() = slots_.done().ToRanges();
  report.set_stream_begin(job_stream_.StreamBegin(slots_.step()));
  report.set_stream_end(job_stream_.StreamEnd(slots_.step()));
  report.set_learning_rate(LearningRate(job_.optimizer(), slots_.step(), job_stream_.num_steps()));
  report.set_target_tokens(target_tokens_);
  return report;
}

absl::StatusOr<std::optional<StepReport>> TrainStep::Finish(const Rail* rail) {
  StepReport report = BeginReport();
  const absl::Time reduce_start = absl::Now();
  report.set_wait_seconds(absl::ToDoubleSeconds(reduce_start - idle_since_));
  LIQUID_ASSIGN_OR_RETURN(const bool is_reduced, Reduce(rail));
  if (!is_reduced) return std::optional<StepReport>();
  comm_time_ += absl::Now() - reduce_start;

  bool may_update = true;
  if (gradient_sum_.overflowed()) {
    LIQUID_ASSIGN_OR_RETURN(const std::string bad_rows, BadRowsOfAll(rail));
    LIQUID_ASSIGN_OR_RETURN(may_update, MayUpdate(bad_rows, &report));
  } else if (gradient_sum_.scalar(kLoss) == 0 && target_tokens_ >= kMinTargetsOfZero) {
    return Stop(absl::StrCat("step ", report.step(), ": the loss of all ", target_tokens_,
                             " targets is exactly 0: the model is certain of each, and there is "
                             "nothing to learn. Look at what is trained with `liquid inspect`"));
  }
  if (may_update) {
    CompleteReport(&report);
    LIQUID_ASSIGN_OR_RETURN(const double norm, GradientNorm());
    report.set_gradient_norm(norm);
    Update(report);
    gradient_sum_.ClearAfterUpdate();
    LIQUID_RETURN_IF_ERROR(GatherWeights(state_));
    LIQUID_RETURN_IF_ERROR(UpdateFingerprintAfterStep(state_));
  } else {
    CompleteReport(&report);
    report.set_loss(std::nan(""));
    gradient_sum_.Clear();
  }
  state_.applied_step = slots_.step();
  slots_.Forget();
  report.set_skipped(!may_update);
  report.set_fingerprint(state_.fingerprint);
  const double seconds = absl::ToDoubleSeconds(absl::Now() - begin_);
  report.set_step_seconds(seconds);
  report.set_tokens_per_second(static_cast<double>(report.tokens()) / seconds);
  if (peak_flops_ > 0) report.set_mfu(report.mfu() / seconds / peak_flops_);
  faults_.Linger("applied", report.step());
  return std::optional<StepReport>(report);
}

// False if the exchange with other gangs failed, which every rank of this gang knows then.
absl::StatusOr<bool> TrainStep::Reduce(const Rail* rail) {
  faults_.Linger("reduce", slots_.step());
  gradient_sum_.CombineInGang(/*keeps=*/rail != nullptr);
  LIQUID_RETURN_IF_ERROR(WaitForRanks());
  if (rail == nullptr) return true;
  exchange_failure_ = AgreeOn(world_, gradient_sum_.CombineAcross(*rail));
  LIQUID_RETURN_IF_ERROR(world_.Wait(absl::InfiniteFuture()));
  return exchange_failure_.ok();
}

// Of all gangs if they can still be asked: to name them is all that they are for.
absl::StatusOr<std::string> TrainStep::BadRowsOfAll(const Rail* rail) {
  LIQUID_ASSIGN_OR_RETURN(const std::vector<std::string> of_gang,
                          world_.AllGatherMessages(absl::StrJoin(bad_rows_, " ")));
  std::string rows = absl::StrJoin(of_gang, " ");
  if (rail == nullptr) return rows;
  const auto of_all = rail->hosts->AllGatherMessages(rows);
  if (of_all.ok()) rows = absl::StrJoin(*of_all, " ");
  return world_.BroadcastMessage(std::move(rows), 0);
}

absl::StatusOr<bool> TrainStep::MayUpdate(const std::string& bad_rows, StepReport* report) {
  const std::string what = absl::StrCat(
      "step ", report->step(), ": the loss or a gradient is not finite or out of range",
      bad_rows.find_first_not_of(' ') == std::string::npos
          ? std::string("; every row's loss is finite, so it began in the backward pass")
          : absl::StrCat("; first seen in the loss of rows ", bad_rows));
  if (job_.training().on_non_finite() == "stop") {
    return Stop(absl::StrCat(what,
                             "; the weights are as before the step. Lower "
                             "optimizer.learning_rate, look at the rows with `liquid inspect`, or "
                             "set training.on_non_finite: skip"));
  }
  if (world_.rank() == 0) LogWarning(what, "; skipped");
  return false;
}

absl::Status TrainStep::Stop(const std::string& why) {
  gradient_sum_.Clear();
  slots_.Forget();
  return WithExitCode(absl::OutOfRangeError(why), ExitCode::kDivergence);
}

// What the sums say, before they are used up. `mfu` holds FLOPs for now.
void TrainStep::CompleteReport(StepReport* report) const {
  report->set_loss(gradient_sum_.scalar(kLoss));
  report->set_tokens(std::llround(gradient_sum_.scalar(kTokens) * kTokenUnit));
  report->set_mfu(gradient_sum_.scalar(kFlops) * kFlopUnit);
  report->set_compute_seconds(absl::ToDoubleSeconds(compute_time_));
  report->set_data_seconds(absl::ToDoubleSeconds(data_time_));
  report->set_comm_seconds(absl::ToDoubleSeconds(comm_time_));
  report->set_peak_flops(peak_flops_);
  report->set_resident_bytes(PeakResidentBytes());
}

absl::Status TrainStep::WaitForRanks() const {
  return Annotate(mesh_.Wait(), absl::StrCat("step ", slots_.step()));
}

// Chunk by chunk as the layout has them, so that it does not depend on who owns which slice.
absl::StatusOr<double> TrainStep::GradientNorm() {
  const FlatLayout& layout = state_.model.layout();
  const absl::Span<const Parameter> parameters = state_.model.parameters();
  const TensorView chunks = norm_chunks_.view();
  ops_.Fill(TensorView(chunks.data, DType::kF32, {2 * chunks.NumElements()}), 0.0f);
  // All tensors at once: they begin at bounds of chunks, and what lies between them is zero.
  const int64_t of_slice = layout.slice_size() / kNormChunk;
  ops_.SumOfSquares(Elements(chunks, mesh_.replica() * of_slice, (mesh_.replica() + 1) * of_slice),
                    gradient_sum_.slice());
  mesh_.replicas().AllReduceSum(chunks);  // all but one are zero
  LIQUID_RETURN_IF_ERROR(WaitForRanks());
  device_stream_.CopyToHost(host_chunks_.data(), chunks.data,
                            static_cast<size_t>(chunks.NumBytes()));
  LIQUID_RETURN_IF_ERROR(device_stream_.Synchronize());
  std::vector<double> of_parts(parameters.size(), 0.0);
  for (size_t i = 0; i < parameters.size(); ++i) {
    if (!parameters[i].part.is_first_holder) continue;
    const int64_t first = layout.offset(static_cast<int>(i)) / kNormChunk;
    const int64_t count = (layout.size(static_cast<int>(i)) + kNormChunk - 1) / kNormChunk;
    of_parts[i] = TreeSum(absl::MakeSpan(host_chunks_).subspan(first, count));
  }
  const auto num_parts = static_cast<int64_t>(of_parts.size());
  std::vector<double> of_ranks(of_parts.size() * mesh_.tensor_size());
  mesh_.tensor_hosts().AllGatherParts(
      TensorView(of_ranks.data(), DType::kF64, {static_cast<int64_t>(of_ranks.size())}),
      TensorView(of_parts.data(), DType::kF64, {num_parts}));
  LIQUID_RETURN_IF_ERROR(WaitForRanks());
  std::vector<double> of_tensors(parameters.size());
  std::vector<double> of_tensor(static_cast<size_t>(mesh_.tensor_size()));
  for (size_t i = 0; i < parameters.size(); ++i) {
    for (size_t t = 0; t < of_tensor.size(); ++t)
      of_tensor[t] = of_ranks[t * parameters.size() + i];
    of_tensors[i] = TreeSum(absl::MakeSpan(of_tensor));
  }
  return std::sqrt(TreeSum(absl::MakeSpan(of_tensors)));
}

// Of the slice that this rank owns.
void TrainStep::Update(const StepReport& report) {
  const Optimizer& optimizer = job_.optimizer();
  AdamWOptions options;
  options.learning_rate = static_cast<float>(report.learning_rate());
  options.beta1 = static_cast<float>(optimizer.betas(0));
  options.beta2 = static_cast<float>(optimizer.betas(1));
  options.epsilon = static_cast<float>(optimizer.epsilon());
  options.step = report.step();
  if (optimizer.clip_norm() > 0) {
    options.gradient_scale =
        static_cast<float>(std::min(1.0, optimizer.clip_norm() / (report.gradient_norm() + 1e-6)));
  }
  const FlatLayout& layout = state_.model.layout();
  // Neighbours that decay alike at once, with what lies between them: zeros, which stay zeros.
  int64_t first = 0;
  int64_t last = 0;
  bool decays = false;
  const auto update = [&] {
    if (first == last) return;
    options.weight_decay = decays ? static_cast<float>(optimizer.weight_decay()) : 0.0f;
    ops_.AdamW(Elements(state_.own_weights(), first, last),
               Elements(state_.exp_avg.view(), first, last),
               Elements(state_.exp_avg_sq.view(), first, last),
               Elements(gradient_sum_.slice(), first, last), options);
  };
  layout.ForEachInSlice(mesh_.replica(), [&](int tensor, int64_t begin, int64_t end, int64_t at) {
    const Parameter& parameter = state_.model.parameters()[tensor];
    if (parameter.decays != decays) {
      update();
      first = at;
      decays = parameter.decays;
    }
    last = at + end - begin;
  });
  update();
}

// What is random about a row follows from the seed and the row's place in the job's stream. So it
// does not depend on how rows are put into slots, and is another one in the next epoch.
absl::Span<const uint64_t> TrainStep::RowKeys(int slot) {
  row_keys_.resize(static_cast<size_t>(job_.training().rows_per_slot()));
  const uint64_t seed = job_.training().seed();
  const int64_t first =
      job_stream_.StreamBegin(slots_.step()) + slot * static_cast<int64_t>(row_keys_.size());
  for (size_t i = 0; i < row_keys_.size(); ++i) {
    const auto position = static_cast<uint64_t>(first) + i;
    const auto bits =
        Philox4x32({static_cast<uint32_t>(position), static_cast<uint32_t>(position >> 32), 0, 0},
                   {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)});
    row_keys_[i] = static_cast<uint64_t>(bits[1]) << 32 | bits[0];
  }
  return row_keys_;
}

void TrainStep::SetTargets(int64_t step) {
  target_tokens_ = 0;
  target_weight_ = 0;
  std::vector<int64_t> rows;
  for (int slot = 0; slot < job_.training().slots_per_step(); ++slot) {
    job_stream_.SlotRows(step, slot, &rows);
    for (const int64_t row : rows) {
      target_tokens_ += dataset_.TargetTokens(row);
      target_weight_ += dataset_.TargetWeight(row);
    }
  }
}

}  // namespace liquid
