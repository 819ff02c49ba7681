// What a worker expects of its own run, before it takes any memory.
#ifndef LIQUID_WORKER_FORECAST_H_
#define LIQUID_WORKER_FORECAST_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "proto/job.pb.h"
#include "tensor/device.h"
#include "worker/planned_step.h"

namespace liquid {

struct Forecast {
  struct Options {
    PlannedRank rank = {};  // `machine` is found out
    int ranks_on_machine = 1;
    bool predicts_time = false;  // which measures the device, in well under a second
  };

  MemoryPlan memory;
  double step_seconds = 0;  // of a step that this gang does alone; 0: not predicted

  // A line each: before the first step, and after the last.
  std::string TimeText() const;
  std::string ComparisonText(int64_t allocated_bytes, double seconds_per_step) const;
};

// Runs a step of `job` on the plan backend, as the given rank on `device`, on which nothing is
// allocated yet; a job that cannot run has an empty forecast. ResourceExhausted, marked
// kOutOfMemory, if the device cannot have so much memory: with the arithmetic and the smallest
// change that fits. The same advice is given if memory runs out later (base/out_of_memory.h).
absl::StatusOr<Forecast> MakeForecast(const Job& job, Device& device,
                                      const Forecast::Options& options);

}  // namespace liquid

#endif  // LIQUID_WORKER_FORECAST_H_
