#include "checkpoint/plan.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status.h"
#include "checkpoint/checksum.h"
#include "nlohmann/json.hpp"

namespace liquid {
namespace {

// `tensors` cut into the contents of files.
absl::StatusOr<std::vector<std::vector<TensorSpec>>> SplitIntoFiles(
    const std::vector<TensorSpec>& tensors, int64_t max_shard_bytes) {
  std::vector<std::vector<TensorSpec>> files(1);
  int64_t size = 0;
  for (const TensorSpec& spec : tensors) {
    LIQUID_ASSIGN_OR_RETURN(const int64_t num_bytes, TensorNumBytes(spec.dtype, spec.shape));
    const bool is_full = max_shard_bytes > 0 && num_bytes > max_shard_bytes - size;
    if (is_full && !files.back().empty()) {
      files.emplace_back();
      size = 0;
    }
    files.back().push_back(spec);
    if (__builtin_add_overflow(size, num_bytes, &size)) {
      return absl::InvalidArgumentError("the tensors together have more bytes than 64 bits count");
    }
  }
  return files;
}

absl::Status AddFiles(const std::string& stem, const std::vector<TensorSpec>& tensors,
                      int64_t max_shard_bytes, CheckpointPlan& plan) {
  LIQUID_ASSIGN_OR_RETURN(auto contents, SplitIntoFiles(tensors, max_shard_bytes));
  for (size_t i = 0; i < contents.size(); ++i) {
    PlannedFile file;
    file.name = contents.size() == 1
                    ? absl::StrCat(stem, ".safetensors")
                    : absl::StrFormat("%s-%05d-of-%05d.safetensors", stem, i + 1, contents.size());
    LIQUID_ASSIGN_OR_RETURN(file.layout,
                            MakeSafetensorsLayout(std::move(contents[i]), {{"format", "pt"}}));
    const auto file_index = static_cast<int32_t>(plan.files.size());
    for (size_t t = 0; t < file.layout.tensors.size(); ++t) {
      const int64_t num_pieces = NumPieces(file.layout.tensors[t].num_bytes());
      for (int64_t p = 0; p < num_pieces; ++p) {
        plan.pieces.push_back({file_index, static_cast<int32_t>(t), p});
      }
    }
    plan.num_bytes += file.layout.file_size;
    plan.files.push_back(std::move(file));
  }
  return absl::OkStatus();
}

}  // namespace

int64_t CheckpointPlan::FirstByte(const Piece& piece) const { return piece.index * kPieceBytes; }

int64_t CheckpointPlan::NumBytes(const Piece& piece) const {
  return std::min(kPieceBytes, TensorOf(piece).num_bytes() - FirstByte(piece));
}

absl::StatusOr<CheckpointPlan> MakeCheckpointPlan(const std::vector<TensorSpec>& model,
                                                  const std::vector<TensorSpec>& optimizer,
                                                  int64_t max_shard_bytes,
                                                  const std::string& model_stem) {
  std::set<std::string> names;
  for (const auto* tensors : {&model, &optimizer}) {
    for (const TensorSpec& spec : *tensors) {
      if (names.insert(spec.name).second) continue;
      return absl::InvalidArgumentError(absl::StrCat("two tensors ", QuoteName(spec.name)));
    }
  }
  CheckpointPlan plan;
  plan.model_stem = model_stem;
  LIQUID_RETURN_IF_ERROR(AddFiles(model_stem, model, max_shard_bytes, plan));
  plan.num_model_files = static_cast<int>(plan.files.size());
  if (!optimizer.empty()) {
    LIQUID_RETURN_IF_ERROR(AddFiles("optimizer", optimizer, max_shard_bytes, plan));
  }
  return plan;
}

std::string MakeIndexJson(const CheckpointPlan& plan, int begin_file, int end_file) {
  int64_t total_size = 0;
  nlohmann::json weight_map = nlohmann::json::object();  // sorts its keys
  for (int f = begin_file; f < end_file; ++f) {
    const PlannedFile& file = plan.files[static_cast<size_t>(f)];
    for (const StoredTensor& tensor : file.layout.tensors) {
      total_size += tensor.num_bytes();
      weight_map[tensor.spec.name] = file.name;
    }
  }
  const nlohmann::json index = {{"metadata", {{"total_size", total_size}}},
                                {"weight_map", std::move(weight_map)}};
  return index.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace liquid
