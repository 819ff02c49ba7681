// A model directory for others: weights alone, cast and cut into files as asked.
#ifndef LIQUID_CHECKPOINT_EXPORT_H_
#define LIQUID_CHECKPOINT_EXPORT_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "tensor/dtype.h"

namespace liquid {

struct ExportOptions {
  std::optional<DType> dtype =
      {};                       // kF32 or kBF16, of all floating-point weights; nothing: as stored
  int64_t max_shard_bytes = 0;  // as MakeCheckpointPlan
  // The directory of a model: what it holds that the exported one does not is carried through, such
  // as the towers of a multimodal model whose text model was trained. Empty: nothing.
  std::string base = {};
  // A directory of adapters for this model: what they add to its weights is added, in kF32, before
  // weights are cast. Empty: none.
  std::string adapters = {};
  int num_threads = 1;
};

struct ExportReport {
  int64_t num_files = 0;  // of weights
  int64_t num_tensors = 0;
  int64_t num_bytes = 0;  // of those files
};

// Writes the weights of the checkpoint or Hugging Face model in `directory` to the new directory
// `out`, in the layout that transformers opens, with configuration and tokenizer files; without
// optimizer state and manifest. Casts to bf16 round to the nearest, ties to even. config.json names
// the new dtype if there is one; all other files are copied byte for byte. A checkpoint is verified
// first. `out` appears whole or not at all.
// AlreadyExists: there is something at `out`; it is not touched. NotFound, InvalidArgument: as
// WeightSource::Open. DataLoss names the first damage. ResourceExhausted: bytes needed and free.
absl::StatusOr<ExportReport> ExportModel(const std::string& directory, const std::string& out,
                                         const ExportOptions& options);

// The bf16 nearest to `value`, ties to even; NaN stays NaN. Its bits.
uint16_t RoundToBf16(float value);

}  // namespace liquid

#endif  // LIQUID_CHECKPOINT_EXPORT_H_
