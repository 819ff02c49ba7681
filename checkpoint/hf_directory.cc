#include "checkpoint/hf_directory.h"

#include <algorithm>
#include <cstring>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/file.h"
#include "base/status.h"
#include "checkpoint/adapter_config.h"
#include "checkpoint/json_document.h"

namespace liquid {
namespace {

constexpr int64_t kMaxIndexBytes = 256 << 20;

// A name that cannot leave the directory. Hugging Face's cache makes the files symbolic links to
// elsewhere, so links are followed; it is the text of the index that is not trusted.
bool IsPlainSafetensorsName(std::string_view name) {
  constexpr std::string_view kSuffix = ".safetensors";
  return name.size() > kSuffix.size() && name.ends_with(kSuffix) &&
         name.find_first_of(std::string_view("/\\\0", 3)) == std::string_view::npos;
}

absl::StatusOr<SafetensorsIndex> ReadIndex(const std::string& path) {
  LIQUID_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::Open(path));
  if (static_cast<int64_t>(file.text().size()) > kMaxIndexBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " has ", file.text().size(), " bytes; the limit is ", kMaxIndexBytes));
  }
  return ParseSafetensorsIndex(file.text(), path);
}

}  // namespace

absl::StatusOr<SafetensorsIndex> ParseSafetensorsIndex(std::string_view json,
                                                       const std::string& path) {
  LIQUID_ASSIGN_OR_RETURN(const nlohmann::json document, ParseJsonDocument(json, path));
  const auto weight_map = document.is_object() ? document.find("weight_map") : document.end();
  if (weight_map == document.end() || !weight_map->is_object()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": no object \"weight_map\""));
  }
  SafetensorsIndex index;
  for (const auto& [tensor, file] : weight_map->items()) {
    const std::string* name = file.get_ptr<const std::string*>();
    if (name == nullptr || !IsPlainSafetensorsName(*name)) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": the file of tensor ", QuoteName(tensor), " is ",
                       name == nullptr ? "not a text" : QuoteName(*name),
                       "; it must be a plain file name that ends in .safetensors"));
    }
    index.weight_map.push_back({tensor, *name});  // items() come sorted by key
  }
  return index;
}

absl::StatusOr<WeightSource> WeightSource::Open(const std::string& directory) {
  return Open(directory, "model");
}

std::vector<std::string> WeightSource::names() const {
  std::vector<std::string> names;
  for (const TensorRef& tensor : tensors_) names.push_back(tensor.spec().name);
  return names;
}

absl::StatusOr<WeightSource> WeightSource::OpenAny(const std::string& directory) {
  const bool is_adapter =
      HasAdapterConfig(directory) &&
      FileExists(JoinPath(directory,
                          absl::StrCat(absl::string_view(kAdapterStem.data(), kAdapterStem.size()),
                                       ".safetensors")));
  return is_adapter ? Open(directory, kAdapterStem) : Open(directory);
}

absl::StatusOr<WeightSource> WeightSource::Open(const std::string& directory,
                                                std::string_view stem) {
  WeightSource source;
  source.directory_ = directory;
  const std::string single = JoinPath(
      directory, absl::StrCat(absl::string_view(stem.data(), stem.size()), ".safetensors"));
  const std::string index_path = absl::StrCat(single, ".index.json");
  if (FileExists(single)) {
    LIQUID_ASSIGN_OR_RETURN(SafetensorsFile file, SafetensorsFile::Open(single));
    source.files_.push_back(std::move(file));
    for (const StoredTensor& tensor : source.files_[0].tensors()) {
      source.tensors_.push_back({&tensor, &source.files_[0]});
    }
  } else if (FileExists(index_path)) {
    LIQUID_ASSIGN_OR_RETURN(const SafetensorsIndex index, ReadIndex(index_path));
    std::set<std::string> names;
    for (const auto& entry : index.weight_map) names.insert(entry.file);
    source.files_.reserve(names.size());
    for (const std::string& name : names) {
      absl::StatusOr<SafetensorsFile> file = SafetensorsFile::Open(JoinPath(directory, name));
      if (!file.ok()) return Annotate(file.status(), index_path);
      source.files_.push_back(*std::move(file));
    }
    for (const auto& entry : index.weight_map) {
      const auto position = std::distance(names.begin(), names.find(entry.file));
      const SafetensorsFile& file = source.files_[static_cast<size_t>(position)];
      const StoredTensor* tensor = file.Find(entry.tensor);
      if (tensor == nullptr) {
        return absl::InvalidArgumentError(absl::StrCat(
            index_path, ": tensor ", QuoteName(entry.tensor), " is not in ", file.path()));
      }
      source.tensors_.push_back({tensor, &file});
    }
  } else {
    return absl::NotFoundError(absl::StrCat("no weights in ", directory, ": neither ", single,
                                            " nor ", index_path,
                                            " exists (pickled weights are not read)"));
  }
  std::sort(source.tensors_.begin(), source.tensors_.end(),
            [](const TensorRef& a, const TensorRef& b) { return a.spec().name < b.spec().name; });
  return source;
}

absl::StatusOr<TensorRef> WeightSource::Find(std::string_view name) const {
  const auto it = std::lower_bound(
      tensors_.begin(), tensors_.end(), name,
      [](const TensorRef& ref, std::string_view wanted) { return ref.spec().name < wanted; });
  if (it == tensors_.end() || it->spec().name != name) {
    return absl::NotFoundError(absl::StrCat("no tensor ", QuoteName(name), " in ", directory_));
  }
  return *it;
}

absl::Status WeightSource::ReadF32(std::string_view name, float* out, int64_t num_elements) const {
  LIQUID_ASSIGN_OR_RETURN(const TensorRef ref, Find(name));
  const DType dtype = ref.spec().dtype;
  const std::string who = absl::StrCat(ref.file->path(), ": tensor ", QuoteName(name), " is ",
                                       DescribeTensor(dtype, ref.spec().shape));
  if (!IsWeightDType(dtype)) {
    return absl::InvalidArgumentError(absl::StrCat(who, "; weights must be F32, BF16 or F16"));
  }
  if (ref.tensor->num_bytes() / SizeOf(dtype) != num_elements) {
    return absl::InvalidArgumentError(
        absl::StrCat(who, ", not of ", num_elements, " elements as expected"));
  }
  ConvertToF32(dtype, ref.bytes().data(), num_elements, out);
  return absl::OkStatus();
}

bool IsWeightDType(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kBF16 || dtype == DType::kF16;
}

void ConvertToF32(DType dtype, const std::byte* bytes, int64_t num_elements, float* out) {
  if (num_elements == 0) return;  // memcpy wants pointers even then
  if (dtype == DType::kF32) {
    std::memcpy(out, bytes, static_cast<size_t>(num_elements) * sizeof(float));
    return;
  }
  LIQUID_CHECK(IsWeightDType(dtype));
  const bool is_bf16 = dtype == DType::kBF16;
  for (int64_t i = 0; i < num_elements; ++i) {
    uint16_t bits = 0;
    std::memcpy(&bits, bytes + 2 * i, sizeof(bits));
    out[i] = is_bf16 ? ToFloat(BFloat16{bits}) : HalfToFloat(bits);
  }
}

}  // namespace liquid
