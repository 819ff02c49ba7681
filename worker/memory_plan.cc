#include "worker/memory_plan.h"

#include <sys/resource.h>
#include <unistd.h>

#include <fstream>

#include "absl/strings/str_format.h"

namespace liquid {

std::string MemoryPlan::ToString() const {
  const auto megabytes = [](int64_t bytes) { return static_cast<double>(bytes) / 1e6; };
  const std::string model = absl::StrFormat(
      "memory of a rank, as planned: weights %.1f MB, gradient sums %.1f, optimizer %.1f, "
      "activations "
      "%.1f, workspace %.1f, tables %.1f",
      megabytes(weights), megabytes(gradient_sums), megabytes(optimizer), megabytes(activations),
      megabytes(workspace), megabytes(tables));
  const std::string rest = absl::StrFormat("checkpoint's copy %.1f, program %.1f",
                                           megabytes(snapshot), megabytes(program));
  if (mirror == 0) {
    return absl::StrFormat("%s, %s: %.1f MB in all", model, rest,
                           megabytes(on_device() + on_host()));
  }
  return absl::StrFormat(
      "%s, CUDA and NCCL about %.1f: %.1f MB on the GPU; %s, mirror of the state %.1f: %.1f MB on "
      "the "
      "host",
      model, megabytes(communication + runtime), megabytes(on_device()), rest, megabytes(mirror),
      megabytes(on_host()));
}

std::vector<MemoryPart> DeviceParts(const MemoryPlan& plan) {
  return {{"weights", plan.weights},
          {"gradient sums", plan.gradient_sums},
          {"optimizer", plan.optimizer},
          {"activations", plan.activations},
          {"workspace", plan.workspace},
          {"tables and batches", plan.tables},
          {"communication", plan.communication},
          {"CUDA itself", plan.runtime}};
}

std::vector<MemoryPart> HostParts(const MemoryPlan& plan) {
  return {{"checkpoint's copy", plan.snapshot}, {"mirror of the state", plan.mirror}};
}

std::string SizeText(double bytes) {
  if (bytes < 1e9) return absl::StrFormat("%.1f MB", bytes / 1e6);
  return absl::StrFormat("%.1f GB", bytes / 1e9);
}

MemoryPlan PlanState(const Model& model, const GradientSum::Options& sums, bool has_others) {
  const FlatLayout& layout = model.layout();
  const DType weights = model.weights().dtype;
  const int64_t float_bytes = SizeOf(DType::kF32);
  MemoryPlan plan;
  plan.weights = layout.total() * SizeOf(weights) + model.frozen_weights().NumBytes();
  plan.gradient_sums = GradientSum::NumBytes(sums, layout, /*keeps=*/has_others);
  const int num_slices = weights == DType::kF32 ? 2 : 3;  // moments; master weights
  plan.optimizer = num_slices * layout.slice_size() * float_bytes;
  return plan;
}

int64_t ResidentBytes() {
  std::ifstream statm("/proc/self/statm");
  int64_t size = 0;
  int64_t resident = 0;
  statm >> size >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

int64_t PeakResidentBytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return int64_t{usage.ru_maxrss} * 1024;
}

}  // namespace liquid
