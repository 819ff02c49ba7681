// The weights that targets of one dataset have in the loss, each as a byte of a mask.
#ifndef LIQUID_DATA_LOSS_WEIGHTS_H_
#define LIQUID_DATA_LOSS_WEIGHTS_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "data/dataset_format.h"

namespace liquid {

// Byte 0 is weight 0, no target; byte 1 is weight 1; bytes from 2 on are others, in the order in
// which they were met. One thread.
class LossWeights {
 public:
  // Of a finite weight >= 0. FailedPrecondition beyond kDatasetMaxWeights others.
  absl::StatusOr<uint8_t> ByteOf(float weight);

  // The weights of bytes 2, 3, ...
  absl::Span<const float> others() const { return others_; }

 private:
  std::vector<float> others_;
};

}  // namespace liquid

#endif  // LIQUID_DATA_LOSS_WEIGHTS_H_
