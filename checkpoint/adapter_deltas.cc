#include "checkpoint/adapter_deltas.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "checkpoint/adapter_config.h"
#include "checkpoint/weight_names.h"

namespace liquid {
namespace {

// The tensor `name` [rows,columns], one of which may be any (0).
absl::StatusOr<std::vector<float>> ReadMatrix(const WeightSource& source, const std::string& name,
                                              int64_t rows, int64_t columns) {
  LIQUID_ASSIGN_OR_RETURN(const TensorRef tensor, source.Find(name));
  const std::vector<int64_t>& shape = tensor.spec().shape;
  const bool fits =
      shape.size() == 2 && (rows == 0 || shape[0] == rows) && (columns == 0 || shape[1] == columns);
  if (!fits) {
    return absl::InvalidArgumentError(
        absl::StrCat("tensor ", name, ": one side is not the rank that adapter_config.json says"));
  }
  std::vector<float> values(static_cast<size_t>(shape[0] * shape[1]));
  LIQUID_RETURN_IF_ERROR(source.ReadF32(name, values.data(), shape[0] * shape[1]));
  return values;
}

std::vector<float> Transposed(const std::vector<float>& x, int64_t columns) {
  const auto rows = static_cast<int64_t>(x.size()) / columns;
  std::vector<float> out(x.size());
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) out[c * rows + r] = x[r * columns + c];
  }
  return out;
}

}  // namespace

absl::StatusOr<AdapterDeltas> AdapterDeltas::Open(const std::string& directory) {
  LIQUID_ASSIGN_OR_RETURN(const AdapterConfig config, ReadAdapterConfig(directory));
  LIQUID_ASSIGN_OR_RETURN(const WeightSource source, WeightSource::Open(directory, kAdapterStem));
  AdapterDeltas deltas;
  deltas.directory_ = directory;
  LIQUID_ASSIGN_OR_RETURN(const std::vector<std::string> modules,
                          ModulesOfAdapters(source.names(), directory));
  for (const std::string& module : modules) {
    Delta delta;
    delta.rank = config.rank;
    const auto read = [&]() -> absl::Status {
      LIQUID_ASSIGN_OR_RETURN(delta.right,
                              ReadMatrix(source, AdapterNameA(module), config.rank, 0));
      LIQUID_ASSIGN_OR_RETURN(delta.left, ReadMatrix(source, AdapterNameB(module), 0, config.rank));
      return absl::OkStatus();
    };
    LIQUID_RETURN_IF_ERROR(Annotate(read(), directory));
    for (float& value : delta.left) value *= static_cast<float>(config.scale());
    deltas.deltas_.emplace(module + ".weight", std::move(delta));
  }
  return deltas;
}

absl::Status AdapterDeltas::CheckFits(const WeightSource& base, bool input_major) {
  std::map<std::string, Delta> stored;
  for (auto& [name, delta] : deltas_) {
    std::vector<std::string> names = OtherSpellings(name);
    names.insert(names.begin(), name);
    const auto found = std::find_if(names.begin(), names.end(), [&](const std::string& other) {
      return base.Find(other).ok();
    });
    if (found == names.end()) {
      return absl::InvalidArgumentError(absl::StrCat(directory_, ": it has an adapter for ", name,
                                                     ", which the base model has not"));
    }
    if (input_major) {
      Delta turned = {delta.rank, Transposed(delta.right, std::ssize(delta.right) / delta.rank),
                      Transposed(delta.left, delta.rank)};
      delta = std::move(turned);
    }
    const std::vector<int64_t> shape = {std::ssize(delta.left) / delta.rank,
                                        std::ssize(delta.right) / delta.rank};
    if (base.Find(*found)->spec().shape != shape) {
      return absl::InvalidArgumentError(
          absl::StrCat(directory_, ": the adapter for ", name, " is for a weight of ", shape[0],
                       " x ", shape[1], ", the base model's has another shape"));
    }
    stored.emplace(*found, std::move(delta));
  }
  deltas_ = std::move(stored);
  return absl::OkStatus();
}

void AdapterDeltas::AddTo(const std::string& name, int64_t width, int64_t begin, int64_t end,
                          absl::Span<float> values) const {
  const auto found = deltas_.find(name);
  if (found == deltas_.end()) return;
  const auto& [rank, left, right] = found->second;
  std::vector<float> sum;
  for (int64_t at = begin; at < end;) {
    const int64_t row = at / width;
    const int64_t column = at % width;
    const int64_t count = std::min(end - at, width - column);
    sum.assign(static_cast<size_t>(count), 0.0f);
    for (int64_t r = 0; r < rank; ++r) {
      const float factor = left[row * rank + r];
      const float* a = &right[r * width + column];
      for (int64_t i = 0; i < count; ++i) sum[i] += factor * a[i];
    }
    for (int64_t i = 0; i < count; ++i) values[at - begin + i] += sum[i];
    at += count;
  }
}

}  // namespace liquid
