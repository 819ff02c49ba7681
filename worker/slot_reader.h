// Rows of a dataset as the model wants them: one slot's arrays, made once and filled again.
#ifndef LIQUID_WORKER_SLOT_READER_H_
#define LIQUID_WORKER_SLOT_READER_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "data/dataset.h"
#include "model/model.h"

namespace liquid {

class SlotReader {
 public:
  // Of `rows_per_slot` rows. `dataset` must outlive this.
  SlotReader(const Dataset& dataset, int rows_per_slot);

  // The slot of these rows; -1 is an empty row. `row_keys` as in TokenBatch, which refers to them.
  // Valid until the next call.
  const TokenBatch& Read(absl::Span<const int64_t> rows, absl::Span<const uint64_t> row_keys = {});

 private:
  const Dataset& dataset_;
  std::vector<int32_t> tokens_;
  std::vector<int32_t> targets_;
  std::vector<int32_t> positions_;
  std::vector<int32_t> document_start_;
  std::vector<float> weights_;  // empty: all are 1
  TokenBatch batch_;
};

// The sum of the losses of a batch's targets, nll [B*T], times their weights.
double WeighedLoss(const TokenBatch& batch, absl::Span<const float> nll);

}  // namespace liquid

#endif  // LIQUID_WORKER_SLOT_READER_H_
