// How long a step takes on a machine that is not there: from what operations and collectives must
// do, and what the machine can. docs/plan.md explains it.
#ifndef LIQUID_WORKER_MACHINE_MODEL_H_
#define LIQUID_WORKER_MACHINE_MODEL_H_

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "kernels/plan/op_call.h"
#include "parallel/plan/plan_communicator.h"
#include "tensor/device.h"
#include "worker/planned_step.h"

namespace liquid {

// One kind of device, and how devices are tied together. Rates are per second, of one device.
struct Machine {
  std::string name;
  DeviceType type = DeviceType::kCpu;
  double memory_bytes = 0;       // 0: not known
  double bf16_flops = 0;         // dense products, sums in fp32
  double fp32_flops = 0;         // products of floats as floats
  double bandwidth = 0;          // of its memory, bytes
  double link_bandwidth = 0;     // to another device of the machine, one way, bytes
  double network_bandwidth = 0;  // to another machine, one way, bytes
  double host_bandwidth = 0;     // to the host, bytes
  double hash_bandwidth = 0;     // of the host's fingerprints, bytes
  // Where operations are measured instead: seconds of a call. Null: the formula.
  std::function<double(const OpCall&)> measured;
};

// What part of the peaks operations reach, and what a launch and a message cost: as measured on an
// H100 (bench/results/gpu_h100_2026-11-28.md), and assumed for its relatives.
struct Efficiencies {
  static constexpr double kProduct = 0.68;
  static constexpr double kAttention = 0.33;
  static constexpr double kAttentionBackward = 0.225;
  static constexpr double kLoss = 0.55;
  static constexpr double kMemory = 0.85;
  static constexpr double kLink = 0.8;
  static constexpr double kLaunchSeconds = 4e-6;
  static constexpr double kLinkLatency = 5e-6;      // of a message between neighbours
  static constexpr double kNetworkLatency = 15e-6;  // the same between machines
};

// So many devices of a kind on each of so many machines: "h100:8x4", "h100:8", "h100", "cpu:2".
struct Cluster {
  Machine machine;
  int per_machine = 1;
  int num_machines = 1;

  int num_ranks() const { return per_machine * num_machines; }
};
// InvalidArgument, with what is known, for anything else. Of `cpu` only name and type are set.
absl::StatusOr<Cluster> ParseCluster(const std::string& text);

double SecondsOf(const Machine& machine, const OpCall& call);
double SecondsOf(const Cluster& cluster, const CollectiveCall& call);

// What a step's time goes to.
struct StepTime {
  double compute = 0;        // forward and backward of the rank's slots
  double update = 0;         // norm, AdamW
  double communication = 0;  // that nothing hides
  double hidden = 0;         // reductions beside the last backward, on GPUs
  double fingerprint = 0;    // the weights are hashed on the host

  double total() const { return compute + update + communication + fingerprint; }
};
StepTime TimeOf(const Cluster& cluster, const PlannedStep& step);

// The formula in words, for people.
std::string MachineModelText(const Machine& machine);

}  // namespace liquid

#endif  // LIQUID_WORKER_MACHINE_MODEL_H_
