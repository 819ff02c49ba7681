// What a rank's memory goes to, known before the first step.
#ifndef LIQUID_WORKER_MEMORY_PLAN_H_
#define LIQUID_WORKER_MEMORY_PLAN_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "model/model.h"
#include "parallel/gradient_sum.h"
#include "tensor/dtype.h"

namespace liquid {

// In bytes, of one rank.
struct MemoryPlan {
  int64_t weights = 0;
  int64_t gradient_sums = 0;
  int64_t optimizer = 0;    // this rank's slice of the moments and master weights
  int64_t activations = 0;  // of one slot, with the gradients of its backward: of their pool
  int64_t workspace = 0;    // of the operations
  int64_t tables = 0;       // batches, rotary tables, partial sums: what is left of the pool
  // Of a GPU, assumed: what its driver and NCCL take by themselves.
  int64_t communication = 0;
  int64_t runtime = 0;
  // Always the host's memory:
  int64_t snapshot = 0;  // of the state, while it is written to a checkpoint
  int64_t mirror = 0;    // the state as the host sees it: 0 unless it is on a GPU
  int64_t program = 0;   // what the process has before the model

  int64_t on_device() const {
    return weights + gradient_sums + optimizer + activations + workspace + tables + communication +
           runtime;
  }
  int64_t on_host() const { return snapshot + mirror + program; }
  // One line; how much the GPU must hold, and how much the host, if the model is on a GPU.
  std::string ToString() const;
};

// A plan's parts by their names, on the device and always on the host; some may be 0.
using MemoryPart = std::pair<const char*, int64_t>;
std::vector<MemoryPart> DeviceParts(const MemoryPlan& plan);
std::vector<MemoryPart> HostParts(const MemoryPlan& plan);

// "61.2 GB".
std::string SizeText(double bytes);

// `has_others`: there are other gangs, or may be.
MemoryPlan PlanState(const Model& model, const GradientSum::Options& sums, bool has_others);

// Memory of this process that is in RAM: now, and the most there ever was.
int64_t ResidentBytes();
int64_t PeakResidentBytes();

}  // namespace liquid

#endif  // LIQUID_WORKER_MEMORY_PLAN_H_
