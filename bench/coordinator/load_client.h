// Leaders of gangs without gangs: they speak the protocol of proto/coordinator.proto over real
// streams, and compute nothing. A step's fingerprint is a function of its number.
#ifndef LIQUID_BENCH_COORDINATOR_LOAD_CLIENT_H_
#define LIQUID_BENCH_COORDINATOR_LOAD_CLIENT_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "data/epoch_order.h"
#include "proto/coordinator.pb.h"

namespace liquid {

struct LoadOptions {
  std::string coordinator;  // HOST:PORT
  int num_gangs = 1250;
  int gangs_per_connection = 50;
  int64_t num_rows = 10'000'000;  // of the training data that the gangs claim to have
};

// What all gangs note down together. Any thread.
class LoadLog {
 public:
  explicit LoadLog(int64_t max_steps) : sent_(static_cast<size_t>(max_steps + 1)) {}

  // A report of `step` goes out now: the last one counts.
  void NoteReport(int64_t step);
  // When the last report of `step` went out; InfinitePast if none has.
  absl::Time LastReport(int64_t step) const;

  std::atomic<int64_t> num_messages = 0;  // sent and received
  std::atomic<int> num_welcomed = 0;
  std::atomic<int> num_ended = 0;  // streams that broke

 private:
  std::vector<std::atomic<int64_t>> sent_;  // unix nanoseconds, by step
};

// One leader. It does its steps when it is told to, so that all keep one pace, as gangs do that
// wait for each other in every step. Any thread.
class LoadGang {
 public:
  virtual ~LoadGang() = default;

  // From now on it answers `regroup`. Before, it only joins: so that many can gather.
  virtual void BecomeReady() = 0;
  virtual bool HasWorld() const = 0;  // of the newest generation that it heard of
  virtual int64_t applied_step() const = 0;
  virtual void SendHeartbeat() = 0;
  // Reports `step` if it has a plan of it; else as soon as that comes. `step` follows the last one.
  virtual void DoStep(int64_t step) = 0;
  // Seconds from the last gang's report of a step to this gang's plan of the step that the commit
  // set free, one for each step since the last call.
  virtual std::vector<double> TakeLatencies() = 0;
  virtual int64_t num_late_plans() const = 0;  // that were not there when their step was to begin
  virtual std::string error() const = 0;       // how the stream ended, if it did
};

// Joins `options.num_gangs` gangs to the job of the coordinator. `log` must outlive them.
absl::StatusOr<std::vector<std::unique_ptr<LoadGang>>> JoinGangs(const LoadOptions& options,
                                                                 LoadLog* log);

}  // namespace liquid

#endif  // LIQUID_BENCH_COORDINATOR_LOAD_CLIENT_H_
