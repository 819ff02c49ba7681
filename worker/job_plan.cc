#include "worker/job_plan.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/status.h"
#include "data/epoch_order.h"
#include "data/job_options.h"
#include "data/prepare.h"
#include "kernels/cpu/team.h"
#include "worker/job_setup.h"
#include "worker/measured_machine.h"

namespace liquid {
namespace {

constexpr std::array<int, 4> kDegrees = {1, 2, 4, 8};  // that model.tensor_parallel may be
constexpr double kBytesOfToken = 4;                    // of JSON lines of English text, roughly

PlanOption PlanOptionOf(Job job, const ModelConfig& config, const Cluster& cluster) {
  PlanOption option;
  option.tensor_parallel = job.model().tensor_parallel();
  option.num_replicas = cluster.num_ranks() / option.tensor_parallel;
  option.recompute = job.model().recompute();
  auto step =
      PlanStep(job, config, {.num_ranks = cluster.num_ranks(), .machine = RulesOf(cluster)});
  option.status = step.status();
  if (!step.ok()) return option;
  option.step = *std::move(step);
  option.time = TimeOf(cluster, option.step);
  const auto tokens =
      static_cast<double>(job.training().slots_per_step() * option.step.slot_tokens);
  option.tokens_per_second = tokens / option.time.total();
  const double memory = cluster.machine.memory_bytes;
  option.fits = memory == 0 || static_cast<double>(option.step.memory.on_device()) <= memory;
  return option;
}

std::vector<PlanOption> AllOptions(const Job& job, const ModelConfig& config,
                                   const Cluster& cluster) {
  std::vector<PlanOption> options;
  for (const int degree : kDegrees) {
    if (cluster.num_ranks() % degree != 0) continue;
    for (const char* recompute : {"none", "block"}) {
      Job other = job;
      other.mutable_model()->set_tensor_parallel(degree);
      other.mutable_model()->set_recompute(recompute);
      options.push_back(PlanOptionOf(std::move(other), config, cluster));
    }
  }
  std::stable_sort(options.begin(), options.end(), [](const PlanOption& a, const PlanOption& b) {
    if (a.status.ok() != b.status.ok()) return a.status.ok();
    if (a.fits != b.fits) return a.fits;
    return a.tokens_per_second > b.tokens_per_second;
  });
  return options;
}

// Rows of files [begin, end) of the options, as far as their bytes tell.
absl::StatusOr<int64_t> EstimatedRows(const PrepareOptions& options, size_t begin, size_t end) {
  int64_t num_bytes = 0;
  for (size_t i = begin; i < end; ++i) {
    std::error_code error;
    const auto bytes = std::filesystem::file_size(options.files[i], error);
    if (error) {
      return absl::NotFoundError(absl::StrCat("the job's data: there is no ", options.files[i]));
    }
    num_bytes += static_cast<int64_t>(bytes);
  }
  const double tokens = static_cast<double>(num_bytes) / kBytesOfToken;
  return std::max<int64_t>(1, std::llround(tokens / options.sequence_length));
}

absl::StatusOr<JobLength> LengthOf(const Job& job) {
  LIQUID_ASSIGN_OR_RETURN(const PrepareOptions options, PrepareOptionsOf(job, JobPart::kTrain));
  if (options.files.empty()) return absl::NotFoundError("the job names no data.train");
  JobLength length;
  std::vector<MixturePart> mixture;
  const auto report = FindPreparedDataset(options);
  if (report.ok() && report->has_value()) {
    length.num_rows = (*report)->num_rows;
    mixture = (*report)->mixture;
    length.source = absl::StrCat("the prepared dataset ", (*report)->path);
  } else {
    size_t begin = 0;
    for (const PrepareOptions::Source& source : options.sources) {
      MixturePart& part = mixture.emplace_back();
      part.name = source.name;
      LIQUID_ASSIGN_OR_RETURN(part.num_rows,
                              EstimatedRows(options, begin, begin + source.num_files));
      begin += source.num_files;
    }
    LIQUID_ASSIGN_OR_RETURN(length.num_rows, EstimatedRows(options, 0, options.files.size()));
    length.source = absl::StrFormat(
        "an estimate: data at %.0f bytes a token, rows full; `liquid prepare` counts",
        kBytesOfToken);
  }
  LIQUID_ASSIGN_OR_RETURN(const JobStream stream, JobStreamOf(job, length.num_rows, mixture));
  length.num_rows = stream.order().epoch_length();
  length.num_steps = stream.num_steps();
  return length;
}

// A job that differs, and how that is said.
struct Change {
  Job job;
  std::string text;
};

// What can be given up, least first.
std::vector<Change> Changes(const Job& job, int num_ranks) {
  std::vector<Change> changes;
  const auto add = [&](const Job& from, const std::string& before, const std::string& text,
                       const auto& change) {
    Change c = {from, before.empty() ? text : absl::StrCat(before, " and ", text)};
    change(c.job);
    changes.push_back(std::move(c));
  };
  const auto add_all = [&](const Job& from, const std::string& before) {
    if (from.model().recompute() != "block") {
      add(from, before, "model.recompute: block",
          [](Job& j) { j.mutable_model()->set_recompute("block"); });
    }
    for (int rows = from.training().rows_per_slot() / 2; rows >= 1; rows /= 2) {
      const int64_t rows_per_step =
          int64_t{from.training().rows_per_slot()} * from.training().slots_per_step();
      if (rows_per_step % rows != 0) continue;  // it would be another batch
      const auto slots = static_cast<int32_t>(rows_per_step / rows);
      add(from, before,
          absl::StrCat("training.rows_per_slot: ", rows, " with slots_per_step: ", slots),
          [rows, slots](Job& j) {
            j.mutable_training()->set_rows_per_slot(rows);
            j.mutable_training()->set_slots_per_step(slots);
          });
    }
    if (from.training().shard() != "gradients" && num_ranks > from.model().tensor_parallel()) {
      add(from, before, "training.shard: gradients",
          [](Job& j) { j.mutable_training()->set_shard("gradients"); });
    }
    for (const int degree : kDegrees) {
      if (degree <= from.model().tensor_parallel() || num_ranks % degree != 0) continue;
      add(from, before, absl::StrCat("model.tensor_parallel: ", degree),
          [degree](Job& j) { j.mutable_model()->set_tensor_parallel(degree); });
    }
    if (from.training().precision() != "bf16") {
      add(from, before, "training.precision: bf16",
          [](Job& j) { j.mutable_training()->set_precision("bf16"); });
    }
  };
  add_all(job, "");
  const std::vector<Change> single = changes;
  for (const Change& change : single) add_all(change.job, change.text);
  return changes;
}

}  // namespace

WorkspaceRules RulesOf(const Cluster& cluster) {
  if (cluster.machine.type == DeviceType::kCuda) return {.device = DeviceType::kCuda};
  return RulesOfThisCpu();
}

std::string MemorySum(const MemoryPlan& memory) {
  std::vector<std::string> terms;
  constexpr int64_t kWorthSaying = 50'000'000;
  int64_t rest = 0;
  for (const auto& [name, bytes] : DeviceParts(memory)) {
    if (bytes < kWorthSaying) {
      rest += bytes;
    } else {
      terms.push_back(absl::StrCat(name, " ", SizeText(static_cast<double>(bytes))));
    }
  }
  if (rest > 0) terms.push_back(absl::StrCat("others ", SizeText(static_cast<double>(rest))));
  return absl::StrCat(absl::StrJoin(terms, " + "), " = ",
                      SizeText(static_cast<double>(memory.on_device())));
}

std::string SmallestChange(const Job& job, const ModelConfig& config, const PlannedRank& rank,
                           double memory_bytes) {
  for (const Change& change : Changes(job, rank.num_ranks)) {
    const auto step = PlanStep(change.job, config, rank);
    if (!step.ok()) continue;  // it cannot be spread like that
    const auto bytes = static_cast<double>(step->memory.on_device());
    if (bytes <= memory_bytes) {
      return absl::StrCat(change.text, " would fit (", SizeText(bytes), ")");
    }
  }
  return absl::StrCat(
      "no two changes of recompute, rows_per_slot, shard, tensor_parallel and "
      "precision fit on ",
      rank.num_ranks, rank.num_ranks == 1 ? " rank" : " ranks",
      ": start more of them, or use devices with more memory");
}

absl::StatusOr<JobPlan> PlanJob(const Job& job, const Cluster& cluster) {
  LIQUID_ASSIGN_OR_RETURN(const ModelConfig config, LoadModelConfig(ConfigPath(job)));
  JobPlan plan;
  plan.cluster = cluster;
  if (cluster.machine.type == DeviceType::kCpu) {
    SizeTeam(cluster.per_machine);
    LIQUID_ASSIGN_OR_RETURN(plan.cluster.machine,
                            MeasuredMachine(CreateCpuDevice(), cluster.per_machine));
  }
  plan.chosen = PlanOptionOf(job, config, plan.cluster);
  LIQUID_RETURN_IF_ERROR(plan.chosen.status);
  plan.options = AllOptions(job, config, plan.cluster);
  plan.length = LengthOf(job);
  if (!plan.chosen.fits) {
    plan.advice = SmallestChange(
        job, config, {.num_ranks = cluster.num_ranks(), .machine = RulesOf(plan.cluster)},
        plan.cluster.machine.memory_bytes);
  }
  return plan;
}

}  // namespace liquid
