#include "data/loss_weights.h"

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace liquid {

absl::StatusOr<uint8_t> LossWeights::ByteOf(float weight) {
  if (weight == 0 || weight == 1) return static_cast<uint8_t>(weight);
  const auto found = std::find(others_.begin(), others_.end(), weight);
  const size_t index = static_cast<size_t>(found - others_.begin());
  if (found == others_.end()) {
    if (others_.size() == kDatasetMaxWeights) {
      return absl::FailedPreconditionError(
          absl::StrCat("a dataset may have ", kDatasetMaxWeights,
                       " weights besides 0 and 1; this would be one more: ", weight, "; there are ",
                       absl::StrJoin(others_, ", "), "; round them"));
    }
    others_.push_back(weight);
  }
  return static_cast<uint8_t>(index + 2);
}

}  // namespace liquid
