#ifndef LIQUID_WORKER_EVALUATION_H_
#define LIQUID_WORKER_EVALUATION_H_

#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "data/dataset.h"
#include "proto/coordinator.pb.h"
#include "worker/slot_reader.h"
#include "worker/train_state.h"

namespace liquid {

// The mean loss, by weights, over the target tokens of a dataset, and how many of them the model
// holds for the most likely ones. Its rows are taken in order, slots of a fixed number of them
// spread over the replicas of all gangs. Sums over slots are exact: the same on any number.
class Evaluation {
 public:
  // Everything must outlive this. 1 <= rows_per_slot.
  Evaluation(const Dataset& dataset, int rows_per_slot, TrainState& state);

  struct Outcome {
    // Nothing if a rank of the only gang was asked to go meanwhile (signals.h): it stops early.
    std::optional<EvalReport> report;
    absl::Status exchange_failure;  // other gangs could not be reached: no report either
  };
  // Collective, over all gangs: `rail` is this rank's, of hosts, among them (null: there is one
  // gang). A slot whose loss is not finite makes the loss NaN. The error is a rank that is gone.
  absl::StatusOr<Outcome> Run(Communicator* rail);

 private:
  const Dataset& dataset_;
  const int rows_per_slot_;
  TrainState& state_;
  Communicator& world_;
  SlotReader reader_;
  std::vector<float> nll_;
  std::vector<uint8_t> correct_;
};

}  // namespace liquid

#endif  // LIQUID_WORKER_EVALUATION_H_
