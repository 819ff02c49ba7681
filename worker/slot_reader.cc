#include "worker/slot_reader.h"

#include "base/check.h"

namespace liquid {

static_assert(Dataset::kIgnoredTarget == kIgnoredTarget);

SlotReader::SlotReader(const Dataset& dataset, int rows_per_slot) : dataset_(dataset) {
  const size_t count = static_cast<size_t>(rows_per_slot) * dataset.sequence_length();
  tokens_.resize(count);
  targets_.resize(count);
  positions_.resize(count);
  document_start_.resize(count);
  if (dataset.has_weights()) weights_.resize(count);
  batch_ = {rows_per_slot, dataset.sequence_length(), tokens_, targets_,
            positions_,    document_start_,           weights_};
}

const TokenBatch& SlotReader::Read(absl::Span<const int64_t> rows,
                                   absl::Span<const uint64_t> row_keys) {
  LIQUID_CHECK(static_cast<int64_t>(rows.size()) == batch_.num_rows);
  size_t offset = 0;
  for (const int64_t row : rows) {
    dataset_.FillRow(row, tokens_.data() + offset, targets_.data() + offset,
                     positions_.data() + offset, document_start_.data() + offset);
    if (!weights_.empty()) dataset_.FillWeights(row, weights_.data() + offset);
    offset += static_cast<size_t>(batch_.sequence_length);
  }
  batch_.row_keys = row_keys;
  return batch_;
}

double WeighedLoss(const TokenBatch& batch, absl::Span<const float> nll) {
  double loss = 0;
  for (size_t i = 0; i < nll.size(); ++i) {
    loss += batch.weights.empty() ? double{nll[i]} : double{batch.weights[i]} * nll[i];
  }
  return loss;
}

}  // namespace liquid
