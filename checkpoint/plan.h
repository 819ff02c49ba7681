// Where every byte of a checkpoint goes: a pure function of what is saved, so that all ranks agree
// on it without a word.
#ifndef LIQUID_CHECKPOINT_PLAN_H_
#define LIQUID_CHECKPOINT_PLAN_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "checkpoint/safetensors.h"

namespace liquid {

// The unit of writing: piece `index` (checkpoint/checksum.h) of a tensor of a planned file.
struct Piece {
  int32_t file = 0;    // of CheckpointPlan::files
  int32_t tensor = 0;  // of that file's layout
  int64_t index = 0;
};

struct PlannedFile {
  std::string name;  // in the checkpoint's directory
  SafetensorsLayout layout;
};

struct CheckpointPlan {
  std::vector<PlannedFile> files;  // the model's, then the optimizer's
  std::string model_stem;          // of the model's files
  int num_model_files = 0;
  std::vector<Piece> pieces;  // all, in the order of files and bytes
  int64_t num_bytes = 0;      // of all files

  const StoredTensor& TensorOf(const Piece& piece) const {
    return files[static_cast<size_t>(piece.file)].layout.tensors[static_cast<size_t>(piece.tensor)];
  }
  int64_t FirstByte(const Piece& piece) const;  // in the tensor
  int64_t NumBytes(const Piece& piece) const;
};

// Files are filled in the given order of tensors: the next one is begun where a tensor would bring
// it above `max_shard_bytes` of data (a larger tensor has a file of its own; 0: no limit). One file
// is called `model.safetensors`, several `model-00001-of-00003.safetensors`; the optimizer's
// likewise; an empty `optimizer` has none. `model_stem` stands for `model` in those names.
// InvalidArgument: as MakeSafetensorsLayout; a name in both.
absl::StatusOr<CheckpointPlan> MakeCheckpointPlan(const std::vector<TensorSpec>& model,
                                                  const std::vector<TensorSpec>& optimizer,
                                                  int64_t max_shard_bytes,
                                                  const std::string& model_stem = "model");

// model.safetensors.index.json (or the optimizer's) for files [begin, end) of the plan, as
// transformers writes it.
std::string MakeIndexJson(const CheckpointPlan& plan, int begin_file, int end_file);

}  // namespace liquid

#endif  // LIQUID_CHECKPOINT_PLAN_H_
