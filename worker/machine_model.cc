#include "worker/machine_model.h"

#include <algorithm>
#include <array>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

namespace liquid {
namespace {

constexpr double kGiga = 1e9;
constexpr double kTera = 1e12;

struct GpuKind {
  const char* name;
  double memory_gb;
  double bf16_tflops;  // dense
  double fp32_tflops;
  double bandwidth_tb;
  double link_gb;     // NVLink, one way: half of what data sheets call bandwidth
  double network_gb;  // of the NVIDIA DGX machine that has it: one network port for each GPU
  double host_gb;     // PCIe, one way, as far as copies reach it
};
// The SXM forms. Sources: NVIDIA's data sheets "A100 80GB" (DS-10031), "H100 Tensor Core GPU",
// "H200 Tensor Core GPU", "DGX B200" (1,440 GB, 64 TB/s, 36 PFLOPS dense FP8 of eight); tensor-core
// rates are stated there with sparsity, of which the dense ones are half; networks of DGX A100 (200
// Gb/s ports), DGX H100, H200 and B200 (400 Gb/s ports).
constexpr std::array<GpuKind, 4> kGpus = {{
    {"a100", 80, 312, 19.5, 2.039, 300, 25, 24},
    {"h100", 80, 989.4, 67, 3.35, 450, 50, 50},
    {"h200", 141, 989.4, 67, 4.8, 450, 50, 50},
    {"b200", 180, 2250, 75, 8.0, 900, 50, 50},
}};

constexpr double kHostHashBandwidth = 10 * kGiga;  // a rank's share of a GPU machine's cores

Machine MachineOf(const GpuKind& gpu) {
  Machine machine;
  machine.name = gpu.name;
  machine.type = DeviceType::kCuda;
  machine.memory_bytes = gpu.memory_gb * kGiga;
  machine.bf16_flops = gpu.bf16_tflops * kTera;
  machine.fp32_flops = gpu.fp32_tflops * kTera;
  machine.bandwidth = gpu.bandwidth_tb * kTera;
  machine.link_bandwidth = gpu.link_gb * kGiga;
  machine.network_bandwidth = gpu.network_gb * kGiga;
  machine.host_bandwidth = gpu.host_gb * kGiga;
  machine.hash_bandwidth = kHostHashBandwidth;
  return machine;
}

absl::Status Refuse(const std::string& text, const std::string& why) {
  std::vector<std::string> names;
  for (const GpuKind& gpu : kGpus) names.push_back(gpu.name);
  return absl::InvalidArgumentError(
      absl::StrCat("--device ", text, ": ", why,
                   "; it is KIND, KIND:DEVICES or "
                   "KIND:DEVICESxMACHINES, such as h100:8x4, and KIND is cpu, ",
                   absl::StrJoin(names, ", ")));
}

bool IsCount(const std::string& text, int* count) {
  return absl::SimpleAtoi(text, count) && *count >= 1 && *count <= 65536;
}

double EfficiencyOf(OpKind kind) {
  switch (kind) {
    case OpKind::kAttention:
      return Efficiencies::kAttention;
    case OpKind::kAttentionBackward:
      return Efficiencies::kAttentionBackward;
    case OpKind::kCrossEntropy:
    case OpKind::kCrossEntropyWithGradient:
      return Efficiencies::kLoss;
    default:
      return Efficiencies::kProduct;
  }
}

bool IsInMachine(const Cluster& cluster, const CollectiveCall& call) {
  const int span = call.size * call.stride;
  return span <= cluster.per_machine && cluster.per_machine % span == 0;
}

double SecondsOf(const Cluster& cluster, const CollectiveCounts& counts) {
  double seconds = 0;
  for (const auto& [call, count] : counts) {
    seconds += SecondsOf(cluster, call) * static_cast<double>(count);
  }
  return seconds;
}

double SecondsOf(const Machine& machine, const OpCounts& counts) {
  double seconds = 0;
  for (const auto& [call, count] : counts) {
    seconds += SecondsOf(machine, call) * static_cast<double>(count);
  }
  return seconds;
}

}  // namespace

absl::StatusOr<Cluster> ParseCluster(const std::string& text) {
  const std::vector<std::string> parts = absl::StrSplit(text, ':');
  Cluster cluster;
  const std::string kind = absl::AsciiStrToLower(parts[0]);
  const auto* const gpu = std::find_if(kGpus.begin(), kGpus.end(),
                                       [&](const GpuKind& known) { return kind == known.name; });
  if (gpu != kGpus.end()) {
    cluster.machine = MachineOf(*gpu);
  } else if (kind == "cpu") {
    cluster.machine.name = kind;
  } else {
    return Refuse(text, absl::StrCat("'", parts[0], "' is not known"));
  }
  if (parts.size() == 1) return cluster;
  const std::vector<std::string> counts = absl::StrSplit(parts[1], 'x');
  if (parts.size() > 2 || counts.size() > 2 || !IsCount(counts[0], &cluster.per_machine) ||
      (counts.size() == 2 && !IsCount(counts[1], &cluster.num_machines)) ||
      cluster.num_ranks() > 65536) {
    return Refuse(text, absl::StrCat("'", parts[1], "' is no number of devices"));
  }
  return cluster;
}

double SecondsOf(const Machine& machine, const OpCall& call) {
  if (machine.measured != nullptr) return machine.measured(call);
  const OpCost cost = CostOf(call);
  const double peak = call.dtype == DType::kBF16 ? machine.bf16_flops : machine.fp32_flops;
  const double by_flops = cost.flops / (peak * EfficiencyOf(call.kind));
  const double by_bytes = cost.bytes / (machine.bandwidth * Efficiencies::kMemory);
  return std::max(by_flops, by_bytes) + Efficiencies::kLaunchSeconds;
}

double SecondsOf(const Cluster& cluster, const CollectiveCall& call) {
  const bool in_machine = IsInMachine(cluster, call);
  const double bandwidth =
      in_machine ? cluster.machine.link_bandwidth : cluster.machine.network_bandwidth;
  const double latency = in_machine ? Efficiencies::kLinkLatency : Efficiencies::kNetworkLatency;
  const int rounds = call.collective == Collective::kAllReduce ? 2 : 1;
  return rounds * (call.size - 1) * latency + call.SentBytes() / (bandwidth * Efficiencies::kLink);
}

StepTime TimeOf(const Cluster& cluster, const PlannedStep& step) {
  const Machine& machine = cluster.machine;
  const auto rounds = static_cast<double>(step.num_rounds);
  const double slot = SecondsOf(machine, step.slot);
  StepTime time;
  time.compute = rounds * slot;
  time.update = SecondsOf(machine, step.update);
  time.communication = rounds * SecondsOf(cluster, step.slot_calls);
  // What gradients are reduced by runs beside the last backward, two thirds of a slot.
  CollectiveCounts reductions;
  CollectiveCounts others;
  for (const auto& [call, count] : step.step_calls) {
    (call.collective == Collective::kReduce ? reductions : others)[call] = count;
  }
  const double reduction = SecondsOf(cluster, reductions);
  if (machine.type == DeviceType::kCuda) time.hidden = std::min(reduction, slot * 2 / 3);
  time.communication += SecondsOf(cluster, others) + reduction - time.hidden;
  const auto hashed = static_cast<double>(step.fingerprint_bytes);
  if (machine.hash_bandwidth > 0) time.fingerprint += hashed / machine.hash_bandwidth;
  if (machine.host_bandwidth > 0) time.fingerprint += hashed / machine.host_bandwidth;
  return time;
}

std::string MachineModelText(const Machine& machine) {
  const std::string rest =
      "a step = slots of a rank one after another + norm and AdamW + collectives + fingerprint; a "
      "collective = messages x latency + bytes sent in a ring / bandwidth";
  if (machine.measured != nullptr) {
    return absl::StrCat("time of an operation = measured here, cut down where it is large; ", rest);
  }
  return absl::StrFormat(
      "time of an operation = max(flops / (peak x e), bytes / (bandwidth x %.2f)) + %.0f us, peak "
      "%.0f TFLOP/s in bf16 and %.0f in fp32, bandwidth %.2f TB/s, e = %.2f of products, %.2f and "
      "%.3f of attention and its backward, %.2f of the loss; %s; links %.0f GB/s, network %.0f "
      "GB/s "
      "a device, of which %.2f is reached; reductions hide behind the last backward",
      Efficiencies::kMemory, Efficiencies::kLaunchSeconds * 1e6, machine.bf16_flops / kTera,
      machine.fp32_flops / kTera, machine.bandwidth / kTera, Efficiencies::kProduct,
      Efficiencies::kAttention, Efficiencies::kAttentionBackward, Efficiencies::kLoss, rest,
      machine.link_bandwidth / kGiga, machine.network_bandwidth / kGiga, Efficiencies::kLink);
}

}  // namespace liquid
