#include "worker/evaluation.h"

#include <algorithm>
#include <cmath>

#include "absl/time/clock.h"
#include "base/status.h"
#include "worker/gang_member.h"
#include "worker/signals.h"

namespace liquid {
namespace {

// Fixed point of a sum of losses: 2^30 steps in 1 leave room for 2^33 in sum.
constexpr double kOne = static_cast<double>(int64_t{1} << 30);

}  // namespace

Evaluation::Evaluation(const Dataset& dataset, int rows_per_slot, TrainState& state)
    : dataset_(dataset),
      rows_per_slot_(rows_per_slot),
      state_(state),
      world_(state.mesh.gang()),
      reader_(dataset, rows_per_slot),
      nll_(static_cast<size_t>(rows_per_slot) * dataset.sequence_length()),
      correct_(nll_.size()) {}

absl::StatusOr<Evaluation::Outcome> Evaluation::Run(Communicator* rail) {
  const absl::Time start = absl::Now();
  // Loss, target tokens, ranks that stopped early, slots without a finite loss, correct targets,
  // weights of the targets.
  int64_t sums[6] = {};
  const int64_t num_slots = (dataset_.num_rows() + rows_per_slot_ - 1) / rows_per_slot_;
  const int64_t place = rail == nullptr ? 0 : rail->rank();
  const int64_t num_gangs = rail == nullptr ? 1 : rail->size();
  std::vector<int64_t> rows(static_cast<size_t>(rows_per_slot_));
  const GangMesh& mesh = state_.mesh;
  // Whether a rank of this replica stops early: its ranks do it together.
  bool stops = false;
  for (int64_t slot = place * mesh.num_replicas() + mesh.replica(); slot < num_slots && !stops;
       slot += num_gangs * mesh.num_replicas()) {
    int64_t num_targets = 0;
    double weight = 0;
    for (int i = 0; i < rows_per_slot_; ++i) {
      const int64_t row = slot * rows_per_slot_ + i;
      rows[i] = row < dataset_.num_rows() ? row : -1;
      num_targets += dataset_.TargetTokens(rows[i]);
      weight += dataset_.TargetWeight(rows[i]);
    }
    const TokenBatch& batch = reader_.Read(rows);
    state_.model.Evaluate(batch, absl::MakeSpan(nll_), absl::MakeSpan(correct_));
    if (rail == nullptr) {
      int64_t asked = StopRequested() ? 1 : 0;
      mesh.tensor_hosts().AllReduceSum(TensorView(&asked, DType::kI64, {1}));
      LIQUID_RETURN_IF_ERROR(mesh.Wait());
      stops = asked != 0;
    }
    if (mesh.tensor_rank() != 0) continue;
    sums[1] += num_targets;
    sums[4] += std::count(correct_.begin(), correct_.end(), uint8_t{1});
    sums[2] = stops ? 1 : 0;
    sums[5] += std::llrint(weight * kOne);
    const double loss = WeighedLoss(batch, nll_);
    if (std::isfinite(loss)) {
      sums[0] += std::llrint(loss * kOne);
    } else {
      ++sums[3];
    }
  }
  const TensorView all(sums, DType::kI64, {6});
  world_.AllReduceSum(all);
  LIQUID_RETURN_IF_ERROR(world_.Wait(absl::InfiniteFuture()));
  Outcome outcome;
  if (rail != nullptr) {
    rail->AllReduceSum(all);
    outcome.exchange_failure = AgreeOn(world_, rail->Wait(absl::InfiniteFuture()));
    LIQUID_RETURN_IF_ERROR(world_.Wait(absl::InfiniteFuture()));
  }
  if (sums[2] != 0 || !outcome.exchange_failure.ok()) return outcome;
  EvalReport& report = outcome.report.emplace();
  report.set_step(state_.applied_step);
  report.set_target_tokens(sums[1]);
  report.set_correct_tokens(sums[4]);
  if (sums[3] != 0) {
    report.set_loss(std::nan(""));
  } else if (sums[5] > 0) {
    report.set_loss(static_cast<double>(sums[0]) / static_cast<double>(sums[5]));
  }
  report.set_seconds(absl::ToDoubleSeconds(absl::Now() - start));
  return outcome;
}

}  // namespace liquid
