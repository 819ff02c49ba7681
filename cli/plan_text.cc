#include "cli/plan_text.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"

namespace liquid {
namespace {

using Json = nlohmann::ordered_json;

std::string Size(int64_t bytes) { return SizeText(static_cast<double>(bytes)); }

std::string Time(double seconds) {
  if (seconds < 1) return absl::StrFormat("%.1f ms", 1e3 * seconds);
  if (seconds < 120) return absl::StrFormat("%.2f s", seconds);
  return absl::FormatDuration(absl::Seconds(static_cast<int64_t>(seconds)));
}

std::string Arrangement(const PlanOption& option) {
  return absl::StrFormat("tensor parallel %d x %d replicas, recompute %s", option.tensor_parallel,
                         option.num_replicas, option.recompute);
}

// Of one rank, over a whole step.
struct Work {
  OpCost operations;
  double sent_bytes = 0;
  int64_t num_collectives = 0;
};

Work WorkOf(const PlannedStep& step) {
  Work work = {.operations = CostOf(step.update)};
  const OpCost slot = CostOf(step.slot);
  const auto rounds = static_cast<double>(step.num_rounds);
  work.operations.flops += rounds * slot.flops;
  work.operations.bytes += rounds * slot.bytes;
  const auto add = [&work](const CollectiveCounts& counts, int64_t times) {
    for (const auto& [call, count] : counts) {
      work.sent_bytes += call.SentBytes() * static_cast<double>(count * times);
      work.num_collectives += count * times;
    }
  };
  add(step.slot_calls, step.num_rounds);
  add(step.step_calls, 1);
  return work;
}

std::string MemoryText(const JobPlan& plan) {
  const MemoryPlan& memory = plan.chosen.step.memory;
  std::string text = absl::StrCat("memory of a rank (", Arrangement(plan.chosen), "):\n");
  for (const auto& [name, bytes] : DeviceParts(memory)) {
    if (bytes > 0) absl::StrAppendFormat(&text, "  %-20s %10s\n", name, Size(bytes));
  }
  const double has = plan.cluster.machine.memory_bytes;
  absl::StrAppendFormat(&text, "  %-20s %10s%s\n", "in all", Size(memory.on_device()),
                        has > 0 ? absl::StrCat(" of ", SizeText(has)) : "");
  text += "  on the host:";
  for (const auto& [name, bytes] : HostParts(memory)) {
    if (bytes > 0) absl::StrAppend(&text, " ", name, " ", Size(bytes), ";");
  }
  text.back() = '\n';
  if (!plan.chosen.fits) {
    absl::StrAppend(&text, "  DOES NOT FIT: ", MemorySum(memory), " > ", SizeText(has), "; ",
                    plan.advice, "\n");
  }
  return text;
}

// Replicas that have no slot in the last round of a step.
int NumIdle(const Job& job, const PlanOption& option) {
  const int in_last = job.training().slots_per_step() % option.num_replicas;
  return in_last == 0 ? 0 : option.num_replicas - in_last;
}

std::string StepText(const Job& job, const JobPlan& plan) {
  const PlanOption& chosen = plan.chosen;
  const Work work = WorkOf(chosen.step);
  std::string text = absl::StrFormat(
      "a rank does in a step: %.4g TFLOP in products, %s of memory read and written, %s sent in %d "
      "collectives\n",
      work.operations.flops / 1e12, SizeText(work.operations.bytes), SizeText(work.sent_bytes),
      work.num_collectives);
  absl::StrAppendFormat(
      &text, "a step takes %s = compute %s + update %s + communication %s%s + fingerprint %s\n",
      Time(chosen.time.total()), Time(chosen.time.compute), Time(chosen.time.update),
      Time(chosen.time.communication),
      chosen.time.hidden > 0 ? absl::StrCat(" (", Time(chosen.time.hidden), " more hidden)") : "",
      Time(chosen.time.fingerprint));
  absl::StrAppendFormat(&text, "%.0f tokens/s\n", chosen.tokens_per_second);
  if (const int idle = NumIdle(job, chosen); idle > 0) {
    absl::StrAppend(&text, idle, " of ", chosen.num_replicas,
                    " replicas have nothing to do while the others do the step's last slots: ",
                    "training.slots_per_step is no multiple of their number\n");
  }
  if (!plan.length.ok()) {
    return absl::StrCat(text, "the job's length is not known: ", plan.length.status().message(),
                        "\n");
  }
  const double seconds = chosen.time.total() * static_cast<double>(plan.length->num_steps);
  return absl::StrCat(text, "the job: ", plan.length->num_steps, " steps, ", plan.length->num_rows,
                      " rows an epoch (", plan.length->source, "): ", Time(seconds), "\n");
}

bool IsSame(const PlanOption& a, const PlanOption& b) {
  return a.tensor_parallel == b.tensor_parallel && a.recompute == b.recompute;
}

std::string OptionsText(const JobPlan& plan) {
  std::string text = absl::StrFormat("options, best first:\n  %4s %9s %10s %12s %12s %12s\n", "TP",
                                     "replicas", "recompute", "memory", "step", "tokens/s");
  for (const PlanOption& option : plan.options) {
    absl::StrAppendFormat(&text, "  %4d %9d %10s ", option.tensor_parallel, option.num_replicas,
                          option.recompute);
    if (!option.status.ok()) {
      absl::StrAppend(&text, "cannot be: ", option.status.message(), "\n");
      continue;
    }
    const MemoryPlan& memory = option.step.memory;
    absl::StrAppendFormat(&text, "%12s %12s %12.0f%s\n", Size(memory.on_device()),
                          Time(option.time.total()), option.tokens_per_second,
                          IsSame(option, plan.chosen) ? "  <- as the job says" : "");
    if (!option.fits) {
      absl::StrAppend(&text, "       does not fit: ", MemorySum(memory), " > ",
                      SizeText(plan.cluster.machine.memory_bytes), "\n");
    }
  }
  return text;
}

std::string ParametersText(const PlannedStep& step) {
  const auto millions = [](int64_t count) {
    return absl::StrFormat("%.4g M", static_cast<double>(count) / 1e6);
  };
  const std::string trained = millions(step.num_parameters);
  const std::string all = millions(step.num_all_parameters);
  return trained == all ? all : absl::StrCat(trained, " trained of ", all);
}

std::string ClusterText(const Cluster& cluster) {
  return absl::StrCat(cluster.num_machines, cluster.num_machines == 1 ? " machine" : " machines",
                      " of ", cluster.per_machine, " x ", cluster.machine.name);
}

Json ToJson(const std::vector<MemoryPart>& parts) {
  Json json;
  for (const auto& [name, bytes] : parts) json[name] = bytes;
  return json;
}

Json OptionToJson(const PlanOption& option) {
  Json json = {{"tensor_parallel", option.tensor_parallel},
               {"replicas", option.num_replicas},
               {"recompute", option.recompute}};
  if (!option.status.ok()) {
    json["error"] = std::string(option.status.message());
    return json;
  }
  const MemoryPlan& memory = option.step.memory;
  const Work work = WorkOf(option.step);
  json["fits"] = option.fits;
  json["memory"] = ToJson(DeviceParts(memory));
  json["memory"]["in all"] = memory.on_device();
  json["host_memory"] = ToJson(HostParts(memory));
  json["flops"] = work.operations.flops;
  json["bytes"] = work.operations.bytes;
  json["sent_bytes"] = work.sent_bytes;
  json["collectives"] = work.num_collectives;
  json["step_seconds"] = option.time.total();
  json["compute_seconds"] = option.time.compute;
  json["update_seconds"] = option.time.update;
  json["communication_seconds"] = option.time.communication;
  json["hidden_seconds"] = option.time.hidden;
  json["fingerprint_seconds"] = option.time.fingerprint;
  json["tokens_per_second"] = option.tokens_per_second;
  return json;
}

}  // namespace

std::string PlanText(const Job& job, const JobPlan& plan) {
  const Training& training = job.training();
  std::string text = absl::StrFormat(
      "%s on %s: %s parameters, %s, %d slots of %d x %d tokens a step\n", job.job(),
      ClusterText(plan.cluster), ParametersText(plan.chosen.step), training.precision(),
      training.slots_per_step(), training.rows_per_slot(), job.data().sequence_length());
  absl::StrAppend(&text, MemoryText(plan), StepText(job, plan), OptionsText(plan),
                  MachineModelText(plan.cluster.machine));
  return text;
}

Json PlanToJson(const Job& job, const JobPlan& plan) {
  Json json = {{"job", job.job()},
               {"device", plan.cluster.machine.name},
               {"devices_per_machine", plan.cluster.per_machine},
               {"machines", plan.cluster.num_machines},
               {"device_memory", plan.cluster.machine.memory_bytes},
               {"parameters", plan.chosen.step.num_parameters},
               {"all_parameters", plan.chosen.step.num_all_parameters},
               {"plan", OptionToJson(plan.chosen)}};
  if (!plan.advice.empty()) json["advice"] = plan.advice;
  if (plan.length.ok()) {
    json["rows"] = plan.length->num_rows;
    json["steps"] = plan.length->num_steps;
    json["length_from"] = plan.length->source;
    json["eta_seconds"] = plan.chosen.time.total() * static_cast<double>(plan.length->num_steps);
  } else {
    json["length_unknown"] = std::string(plan.length.status().message());
  }
  Json options = Json::array();
  for (const PlanOption& option : plan.options) options.push_back(OptionToJson(option));
  json["options"] = std::move(options);
  json["model"] = MachineModelText(plan.cluster.machine);
  return json;
}

}  // namespace liquid
