#include "worker/forecast.h"

#include <algorithm>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/exit_code.h"
#include "base/out_of_memory.h"
#include "base/status.h"
#include "model/model_config.h"
#include "worker/job_plan.h"
#include "worker/job_setup.h"
#include "worker/measured_machine.h"

namespace liquid {
namespace {

// Of what has run out: what fits must be well below what was planned.
constexpr double kBelowPlan = 0.9;

absl::StatusOr<double> StepSeconds(Device& device, int ranks_on_machine, const PlannedStep& step) {
  Cluster cluster;
  cluster.per_machine = ranks_on_machine;
  // It outlives the measuring.
  LIQUID_ASSIGN_OR_RETURN(
      cluster.machine,
      MeasuredMachine(std::shared_ptr<Device>(&device, [](Device*) {}), ranks_on_machine));
  return TimeOf(cluster, step).total();
}

}  // namespace

std::string Forecast::TimeText() const {
  if (step_seconds == 0) return "a step: not predicted";
  return absl::StrFormat("a step, as planned: %.4g s if this gang does it alone", step_seconds);
}

std::string Forecast::ComparisonText(int64_t allocated_bytes, double seconds_per_step) const {
  const double planned =
      static_cast<double>(memory.on_device() - memory.communication - memory.runtime);
  return absl::StrFormat("planned and actual: %.1f and %.1f MB of tensors, %.4g and %.4g s a step",
                         planned / 1e6, static_cast<double>(allocated_bytes) / 1e6, step_seconds,
                         seconds_per_step);
}

absl::StatusOr<Forecast> MakeForecast(const Job& job, Device& device,
                                      const Forecast::Options& options) {
  const absl::StatusOr<ModelConfig> loaded = LoadModelConfig(ConfigPath(job));
  if (!loaded.ok()) return Forecast();  // as below
  const ModelConfig& config = *loaded;
  PlannedRank rank = options.rank;
  rank.machine = device.type() == DeviceType::kCpu ? RulesOfThisCpu()
                                                   : WorkspaceRules{.device = DeviceType::kCuda};
  const absl::StatusOr<PlannedStep> planned = PlanStep(job, config, rank);
  if (!planned.ok()) return Forecast();  // what cannot be is said by what would do it
  const PlannedStep& step = *planned;
  const auto bytes = static_cast<double>(step.memory.on_device());
  const auto total = static_cast<double>(device.TotalBytes(options.ranks_on_machine));
  if (total > 0 && bytes > total) {
    return WithExitCode(
        absl::ResourceExhaustedError(absl::StrFormat(
            "out of memory before the start: rank %d would take %s > %.1f GB, its share of %s; %s",
            rank.rank, MemorySum(step.memory), total / 1e9, device.name(),
            SmallestChange(job, config, rank, total))),
        ExitCode::kOutOfMemory);
  }
  const double goal = total > 0 ? std::min(total, kBelowPlan * bytes) : kBelowPlan * bytes;
  SetOutOfMemoryAdvice(
      [job, config, rank, goal] { return SmallestChange(job, config, rank, goal); });
  Forecast forecast;
  forecast.memory = step.memory;
  if (options.predicts_time) {
    LIQUID_ASSIGN_OR_RETURN(forecast.step_seconds,
                            StepSeconds(device, options.ranks_on_machine, step));
  }
  return forecast;
}

}  // namespace liquid
