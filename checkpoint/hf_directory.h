// The weights of a Hugging Face model directory: `model.safetensors`, or else the files that
// `model.safetensors.index.json` names. Pickled weights are not read.
#ifndef LIQUID_CHECKPOINT_HF_DIRECTORY_H_
#define LIQUID_CHECKPOINT_HF_DIRECTORY_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "checkpoint/safetensors.h"

namespace liquid {

// A tensor of a WeightSource, valid as long as that lives.
struct TensorRef {
  const StoredTensor* tensor = nullptr;
  const SafetensorsFile* file = nullptr;

  const TensorSpec& spec() const { return tensor->spec; }
  absl::Span<const std::byte> bytes() const { return file->bytes(*tensor); }  // may be unaligned
};

// A set of tensors spread over mapped safetensors files. Immutable: any number of threads may read.
class WeightSource {
 public:
  // NotFound: no weights in `directory`, or a file that the index names is missing (by name).
  // InvalidArgument: the index or a file breaks its format; a name in the index leaves the
  // directory or is no safetensors file; a tensor is not in the file that the index says.
  static absl::StatusOr<WeightSource> Open(const std::string& directory);
  // The same for other stems than "model": `<stem>.safetensors`, `<stem>.safetensors.index.json`.
  static absl::StatusOr<WeightSource> Open(const std::string& directory, std::string_view stem);

  // What a directory of a model or of adapters holds.
  static absl::StatusOr<WeightSource> OpenAny(const std::string& directory);

  // By name.
  absl::Span<const TensorRef> tensors() const { return tensors_; }
  std::vector<std::string> names() const;
  // In the order of their names.
  absl::Span<const SafetensorsFile> files() const { return files_; }
  // NotFound, naming the directory, if there is none.
  absl::StatusOr<TensorRef> Find(std::string_view name) const;

  // Converts an F32, BF16 or F16 tensor into out[0 .. num_elements), exactly.
  // NotFound: no such tensor. InvalidArgument: another number of elements, another dtype.
  absl::Status ReadF32(std::string_view name, float* out, int64_t num_elements) const;

 private:
  WeightSource() = default;
  std::string directory_;
  std::vector<SafetensorsFile> files_;  // moving the vector keeps the elements where they are
  std::vector<TensorRef> tensors_;
};

// What `<stem>.safetensors.index.json` says. Source: the layout that transformers writes.
struct SafetensorsIndex {
  struct Entry {
    std::string tensor;
    std::string file;  // a plain file name that ends in .safetensors
  };
  std::vector<Entry> weight_map;  // by tensor
};
absl::StatusOr<SafetensorsIndex> ParseSafetensorsIndex(std::string_view json,
                                                       const std::string& path);

// Weights are F32, BF16 or F16: what fits into float32 exactly.
bool IsWeightDType(DType dtype);
// Converts `num_elements` elements at `bytes` (any alignment). REQUIRES: IsWeightDType(dtype).
void ConvertToF32(DType dtype, const std::byte* bytes, int64_t num_elements, float* out);

}  // namespace liquid

#endif  // LIQUID_CHECKPOINT_HF_DIRECTORY_H_
