#include "worker/train_step.h"

#include <sys/resource.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "base/check.h"
#include "base/exit_code.h"
#include "base/log.h"
#include "base/status.h"
#include "worker/learning_rate.h"

namespace liquid {
namespace {

// Scalars that travel with the gradients.
enum Scalar { kLoss, kTokens, kFlops };
// Token and FLOP counts are far above the range of a fixed-point scalar; they are sent in these
// units.
constexpr double kTokenUnit = 1 << 20;
constexpr double kFlopUnit = 1e15;

std::vector<Shape> ShapesOf(const Model& model) {
  std::vector<Shape> shapes;
  for (const Parameter& parameter : model.parameters()) shapes.push_back(parameter.shape);
  return shapes;
}

// The sum of `values` by a binary tree over their index: a function of the values alone.
double TreeSum(absl::Span<double> values) {
  for (size_t count = values.size(); count > 1; count = (count + 1) / 2) {
    for (size_t i = 0; i < count / 2; ++i) values[i] = values[2 * i] + values[2 * i + 1];
    if (count % 2 != 0) values[count / 2] = values[count - 1];
  }
  return values.empty() ? 0 : values[0];
}

int64_t PeakResidentBytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return int64_t{usage.ru_maxrss} * 1024;
}

}  // namespace

TrainStep::TrainStep(const Job& job, const JobStream& stream, const Dataset& dataset,
                     TrainState& state, Ops& ops, Stream& device_stream, TensorPool& pool,
                     Communicator& world, double peak_flops)
    : job_(job),
      job_stream_(stream),
      dataset_(dataset),
      state_(state),
      ops_(ops),
      device_stream_(device_stream),
      pool_(pool),
      world_(world),
      peak_flops_(peak_flops),
      recompute_(job.model().recompute() == "block" ? Recompute::kBlock : Recompute::kNone),
      gradient_sum_(job.training().gradient_sum() == "exact" ? GradientSumKind::kExact
                                                             : GradientSumKind::kFast,
                    ShapesOf(state.model), job.training().slots_per_step(), ops, device_stream,
                    pool),
      reader_(dataset, job.training().rows_per_slot()),
      nll_(static_cast<size_t>(job.training().rows_per_slot()) * dataset.sequence_length()) {}

absl::StatusOr<StepReport> TrainStep::Run(const Plan& plan) {
  LIQUID_CHECK(plan.step() == state_.applied_step + 1, "step ", plan.step(), " after ",
               state_.applied_step);
  const absl::Time start = absl::Now();
  StepReport report;
  report.set_generation(plan.generation());
  report.set_step(plan.step());
  *report.mutable_slots() = plan.slots();
  report.set_stream_begin(job_stream_.StreamBegin(plan.step()));
  report.set_stream_end(job_stream_.StreamEnd(plan.step()));
  report.set_learning_rate(LearningRate(job_.optimizer(), plan.step(), job_stream_.num_steps()));
  report.set_target_tokens(TargetTokens(plan.step()));
  if (report.target_tokens() == 0) {
    return WithExitCode(absl::InvalidArgumentError(
                            absl::StrCat("step ", plan.step(),
                                         ": none of its tokens is trained; look at the masks with "
                                         "`liquid inspect`")),
                        ExitCode::kData);
  }

  ComputeSlots(plan, 1.0 / static_cast<double>(report.target_tokens()), &report);
  const absl::Time reduce_start = absl::Now();
  gradient_sum_.Combine(world_);
  LIQUID_RETURN_IF_ERROR(world_.Wait(absl::InfiniteFuture()));
  report.set_comm_seconds(absl::ToDoubleSeconds(absl::Now() - reduce_start));

  LIQUID_ASSIGN_OR_RETURN(const bool may_update, MayUpdate(plan, &report));
  report.set_loss(gradient_sum_.scalar(kLoss));
  report.set_tokens(std::llround(gradient_sum_.scalar(kTokens) * kTokenUnit));
  const double flops = gradient_sum_.scalar(kFlops) * kFlopUnit;
  if (may_update) {
    report.set_gradient_norm(GradientNorm());
    Update(report);
    gradient_sum_.ClearScalars();  // AdamW has cleared the rest
    LIQUID_RETURN_IF_ERROR(UpdateFingerprint(state_, world_));
  } else {
    gradient_sum_.Clear();
  }
  state_.applied_step = plan.step();
  report.set_skipped(!may_update);
  report.set_fingerprint(state_.fingerprint);

  const double seconds = absl::ToDoubleSeconds(absl::Now() - start);
  report.set_step_seconds(seconds);
  report.set_tokens_per_second(static_cast<double>(report.tokens()) / seconds);
  report.set_peak_flops(peak_flops_);
  if (peak_flops_ > 0) report.set_mfu(flops / seconds / peak_flops_);
  report.set_resident_bytes(PeakResidentBytes());
  return report;
}

void TrainStep::ComputeSlots(const Plan& plan, double loss_scale, StepReport* report) {
  const GradientSink fold = [this](int index, ConstTensorView gradient) {
    gradient_sum_.Fold(index, gradient);
  };
  absl::Duration data_wait;
  std::vector<int64_t> rows;
  bad_rows_.clear();
  int64_t lease_index = 0;
  for (const SlotRange& range : plan.slots()) {
    for (int slot = range.begin(); slot < range.end(); ++slot, ++lease_index) {
      if (lease_index % world_.size() != world_.rank()) continue;
      job_stream_.SlotRows(plan.step(), slot, &rows);
      if (std::all_of(rows.begin(), rows.end(), [](int64_t row) { return row < 0; })) continue;
      const absl::Time read_start = absl::Now();
      const TokenBatch& batch = reader_.Read(rows);
      data_wait += absl::Now() - read_start;
      state_.model.ForwardBackward(batch, static_cast<float>(loss_scale), recompute_, fold,
                                   absl::MakeSpan(nll_));
      double loss = 0;
      for (const float nll : nll_) loss += nll;
      if (!std::isfinite(loss)) bad_rows_.insert(bad_rows_.end(), rows.begin(), rows.end());
      int64_t tokens = 0;
      for (const int64_t row : rows) tokens += dataset_.Tokens(row);
      gradient_sum_.FoldScalar(kLoss, loss * loss_scale);
      gradient_sum_.FoldScalar(kTokens, static_cast<double>(tokens) / kTokenUnit);
      gradient_sum_.FoldScalar(kFlops, TrainingFlops(state_.model, batch) / kFlopUnit);
    }
  }
  const absl::Status status = device_stream_.Synchronize();
  LIQUID_CHECK(status.ok(), status.ToString());
  report->set_data_seconds(absl::ToDoubleSeconds(data_wait));
}

absl::StatusOr<bool> TrainStep::MayUpdate(const Plan& plan, StepReport* report) {
  if (!gradient_sum_.overflowed()) return true;
  LIQUID_ASSIGN_OR_RETURN(const std::vector<std::string> all,
                          world_.AllGatherMessages(absl::StrJoin(bad_rows_, " ")));
  const std::string rows = absl::StrJoin(all, " ");
  const std::string what = absl::StrCat(
      "step ", plan.step(), ": the loss or a gradient is not finite or out of range",
      rows.find_first_not_of(' ') == std::string::npos
          ? std::string("; every row's loss is finite, so it began in the backward pass")
          : absl::StrCat("; first seen in the loss of rows ", rows));
  gradient_sum_.Clear();
  if (job_.training().on_non_finite() == "stop") {
    return WithExitCode(
        absl::OutOfRangeError(absl::StrCat(
            what,
            "; the weights are as before the step. Lower optimizer.learning_rate, look at the "
            "rows with `liquid inspect`, or set training.on_non_finite: skip")),
        ExitCode::kDivergence);
  }
  if (world_.rank() == 0) LogWarning(what, "; skipped");
  report->set_loss(std::nan(""));
  return false;
}

double TrainStep::GradientNorm() {
  std::vector<double> tensor_sums;
  for (size_t i = 0; i < state_.model.parameters().size(); ++i) {
    const TensorView sum = gradient_sum_.sum(static_cast<int>(i));
    const int64_t num_chunks = (sum.NumElements() + kNormChunk - 1) / kNormChunk;
    const PooledTensor chunks = pool_.Allocate(DType::kF64, {num_chunks});
    ops_.SumOfSquares(chunks.view(), sum);
    norm_chunks_.resize(static_cast<size_t>(num_chunks));
    device_stream_.CopyToHost(norm_chunks_.data(), chunks.view().data,
                              static_cast<size_t>(chunks.view().NumBytes()));
    const absl::Status status = device_stream_.Synchronize();
    LIQUID_CHECK(status.ok(), status.ToString());
    tensor_sums.push_back(TreeSum(absl::MakeSpan(norm_chunks_)));
  }
  return std::sqrt(TreeSum(absl::MakeSpan(tensor_sums)));
}

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
  const absl::Span<const Parameter> parameters = state_.model.parameters();
  for (size_t i = 0; i < parameters.size(); ++i) {
    options.weight_decay =
        parameters[i].decays ? static_cast<float>(optimizer.weight_decay()) : 0.0f;
    ops_.AdamW(parameters[i].value, state_.exp_avg[i].view(), state_.exp_avg_sq[i].view(),
               gradient_sum_.sum(static_cast<int>(i)), options);
  }
}

int64_t TrainStep::TargetTokens(int64_t step) const {
  int64_t total = 0;
  std::vector<int64_t> rows;
  for (int slot = 0; slot < job_.training().slots_per_step(); ++slot) {
    job_stream_.SlotRows(step, slot, &rows);
    for (const int64_t row : rows) total += dataset_.TargetTokens(row);
  }
  return total;
}

}  // namespace liquid
