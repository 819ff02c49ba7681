#include "data/dataset.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status.h"
#include "nlohmann/json.hpp"

namespace liquid {
namespace {

template <typename... Args>
absl::Status Damaged(const Args&... args) {
  return absl::DataLossError(absl::StrCat("not a sound dataset: ", args...));
}

// *sum += a * b; false if a factor is negative or the result does not fit.
bool AddProduct(int64_t a, int64_t b, int64_t* sum) {
  int64_t product;
  return a >= 0 && b >= 0 && !__builtin_mul_overflow(a, b, &product) &&
         !__builtin_add_overflow(*sum, product, sum) && *sum <= INT64_MAX - kDatasetAlignment;
}

absl::Status CheckWeights(const DatasetHeader& header) {
  const auto* const begin = std::begin(header.weights);
  const auto* const end = std::find(begin, std::end(header.weights), 0.0F);
  for (const auto* weight = begin; weight != end; ++weight) {
    if (!std::isnormal(*weight) || *weight < 0 || *weight == 1 ||
        std::find(begin, weight, *weight) != weight) {
      return Damaged("weight ", *weight);
    }
  }
  // A negative zero is none.
  const auto is_zero = [](float weight) { return weight == 0 && !std::signbit(weight); };
  if (!std::all_of(end, std::end(header.weights), is_zero)) {
    return Damaged("a weight behind the last");
  }
  return absl::OkStatus();
}

absl::Status CheckHeader(const DatasetHeader& header, int64_t file_bytes, DatasetLayout* layout) {
  if (std::memcmp(header.magic, kDatasetMagic, sizeof(kDatasetMagic)) != 0) {
    return Damaged("it does not begin with LIQUIDDS");
  }
  if (header.version != kDatasetVersion) {
    return Damaged("its version is ", header.version, ", this program reads ", kDatasetVersion,
                   "; prepare it again");
  }
  if (HashBytes(&header, offsetof(DatasetHeader, header_digest)) != header.header_digest) {
    return Damaged("the header's digest is wrong");
  }
  if (header.sequence_length < 2 || header.sequence_length > kDatasetMaxSequenceLength) {
    return Damaged("sequence_length ", header.sequence_length);
  }
  if (header.vocab_size < 1 || header.pad_token < 0 || header.pad_token >= header.vocab_size) {
    return Damaged("pad token ", header.pad_token, " of ", header.vocab_size);
  }
  if (!std::all_of(std::begin(header.reserved), std::end(header.reserved),
                   [](uint8_t byte) { return byte == 0; })) {
    return Damaged("reserved bytes are not zero");
  }
  LIQUID_RETURN_IF_ERROR(CheckWeights(header));
  if (!ComputeDatasetLayout(header, layout)) return Damaged("impossible counts");
  if (layout->file_bytes != file_bytes) {
    return Damaged("the header speaks of ", layout->file_bytes, " bytes, the file has ",
                   file_bytes);
  }
  if (header.num_rows < 1 || header.num_documents < header.num_rows) {
    return Damaged(header.num_rows, " rows, ", header.num_documents, " documents");
  }
  return absl::OkStatus();
}

bool ReadMixture(const nlohmann::json& json, std::vector<MixturePart>* mixture) {
  if (!json.is_array() || json.empty()) return false;
  for (const nlohmann::json& item : json) {
    if (!item.is_object() || !item.contains("name") || !item["name"].is_string()) return false;
    MixturePart& part = mixture->emplace_back();
    part.name = item["name"].get<std::string>();
    for (const auto& [key, value] : {std::pair("rows", &part.num_rows),
                                     {"documents", &part.num_documents},
                                     {"tokens", &part.num_tokens},
                                     {"target_tokens", &part.num_target_tokens}}) {
      if (!item.contains(key) || !item[key].is_number_integer()) return false;
      *value = item[key].get<int64_t>();
    }
  }
  return true;
}

}  // namespace

Hash128 DatasetDigest(const DatasetHeader& header) {
  Hasher hasher;
  hasher.Update(&header, kDatasetContentBytes);
  // Files without weights keep the digest that they had before there were any.
  if (header.weights[0] != 0) hasher.Update(header.weights, sizeof(header.weights));
  return hasher.Digest();
}

bool ComputeDatasetLayout(const DatasetHeader& header, DatasetLayout* layout) {
  layout->row_bytes = AlignDatasetOffset(int64_t{header.sequence_length} * 5);
  int64_t end = sizeof(DatasetHeader);
  layout->rows = end;
  if (!AddProduct(header.num_rows, layout->row_bytes, &end)) return false;
  layout->entries = end;
  if (!AddProduct(header.num_rows, sizeof(DatasetRowEntry), &end)) return false;
  layout->documents = end = AlignDatasetOffset(end);
  if (!AddProduct(header.num_documents, sizeof(DatasetDocument), &end)) return false;
  layout->provenance = end = AlignDatasetOffset(end);
  if (!AddProduct(header.num_provenance_bytes, 1, &end)) return false;
  layout->file_bytes = end;
  return true;
}

absl::StatusOr<Dataset> Dataset::Open(const std::string& path, Verify verify) {
  LIQUID_ASSIGN_OR_RETURN(MappedFile file, MappedFile::Open(path));
  DatasetHeader header;
  if (file.bytes().size() < sizeof(header)) {
    return Annotate(Damaged("only ", file.bytes().size(), " bytes"), path);
  }
  std::memcpy(&header, file.bytes().data(), sizeof(header));
  DatasetLayout layout;
  const auto file_bytes = static_cast<int64_t>(file.bytes().size());
  LIQUID_RETURN_IF_ERROR(Annotate(CheckHeader(header, file_bytes, &layout), path));
  Dataset dataset(std::move(file), header, layout);
  LIQUID_RETURN_IF_ERROR(Annotate(dataset.ReadProvenance(), path));
  LIQUID_RETURN_IF_ERROR(Annotate(dataset.CheckIndex(), path));
  if (verify == Verify::kEverything) LIQUID_RETURN_IF_ERROR(Annotate(dataset.CheckRows(), path));
  return dataset;
}

Dataset::Dataset(MappedFile file, const DatasetHeader& header, const DatasetLayout& layout)
    : file_(std::move(file)),
      header_(header),
      layout_(layout),
      num_weights_(static_cast<size_t>(
          std::find(std::begin(header.weights), std::end(header.weights), 0.0F) -
          std::begin(header.weights))),
      digest_(DatasetDigest(header)) {}

absl::Span<const DatasetRowEntry> Dataset::entries() const {
  return {reinterpret_cast<const DatasetRowEntry*>(file_.bytes().data() + layout_.entries),
          static_cast<size_t>(header_.num_rows)};
}

absl::Span<const DatasetDocument> Dataset::documents() const {
  return {reinterpret_cast<const DatasetDocument*>(file_.bytes().data() + layout_.documents),
          static_cast<size_t>(header_.num_documents)};
}

absl::Status Dataset::ReadProvenance() {
  provenance_ = std::string(file_.text().substr(static_cast<size_t>(layout_.provenance)));
  if (HashBytes(provenance_) != header_.provenance_digest) {
    return Damaged("the provenance's digest is wrong");
  }
  const auto json = nlohmann::json::parse(provenance_, nullptr, /*allow_exceptions=*/false);
  const auto sources = json.is_object() ? json.find("sources") : json.end();
  if (sources == json.end() || !sources->is_array()) return Damaged("it names no sources");
  for (const nlohmann::json& item : *sources) {
    const bool complete = item.is_object() && item.contains("path") && item["path"].is_string() &&
                          item.contains("num_bytes") && item["num_bytes"].is_number_integer() &&
                          item.contains("digest") && item["digest"].is_string();
    DatasetSource source;
    if (!complete || !FromHex(item["digest"].get_ref<const std::string&>(), &source.digest)) {
      return Damaged("source ", sources_.size(), " is incomplete");
    }
    source.path = item["path"].get<std::string>();
    source.num_bytes = item["num_bytes"].get<int64_t>();
    sources_.push_back(std::move(source));
  }
  if (const auto mixture = json.find("mixture"); mixture != json.end()) {
    if (!ReadMixture(*mixture, &mixture_)) return Damaged("its mixture is incomplete");
    return CheckMixture();
  }
  return absl::OkStatus();
}

// That the sources' rows are those of the dataset.
absl::Status Dataset::CheckMixture() const {
  int64_t num_rows = 0;
  for (const MixturePart& part : mixture_) {
    if (part.num_rows < 1 || part.num_rows > header_.num_rows - num_rows) {
      return Damaged("its mixture has ", part.num_rows, " rows of ", part.name);
    }
    num_rows += part.num_rows;
  }
  if (num_rows != header_.num_rows) {
    return Damaged("its mixture has ", num_rows, " rows, it has ", header_.num_rows);
  }
  return absl::OkStatus();
}

absl::Status Dataset::CheckIndex() const {
  const auto index = file_.text().substr(static_cast<size_t>(layout_.entries),
                                         static_cast<size_t>(layout_.provenance - layout_.entries));
  if (HashBytes(index) != header_.index_digest) return Damaged("the index's digest is wrong");
  int64_t next_document = 0;
  int64_t num_tokens = 0;
  int64_t num_targets = 0;
  for (int64_t r = 0; r < header_.num_rows; ++r) {
    const DatasetRowEntry& entry = entries()[r];
    const int64_t end =
        r + 1 < header_.num_rows ? entries()[r + 1].first_document : header_.num_documents;
    if (entry.first_document != next_document || end <= next_document ||
        end > header_.num_documents) {
      return Damaged("row ", r, " has documents ", entry.first_document, " to ", end);
    }
    int64_t used = 0;
    for (; next_document < end; ++next_document) {
      const DatasetDocument& document = documents()[next_document];
      if (document.begin != used || document.num_tokens < 1 || document.source < 0 ||
          document.source >= static_cast<int64_t>(sources_.size()) || document.line < 1 ||
          document.part < 0) {
        return Damaged("document ", next_document, " of row ", r);
      }
      used += document.num_tokens;
      if (used > header_.sequence_length) return Damaged("row ", r, " is too long");
    }
    if (entry.num_tokens != used || entry.num_targets < 0 || entry.num_targets > used) {
      return Damaged("row ", r, " counts ", entry.num_tokens, " tokens, ", entry.num_targets,
                     " targets");
    }
    num_tokens += entry.num_tokens;
    num_targets += entry.num_targets;
  }
  if (num_tokens != header_.num_tokens || num_targets != header_.num_targets) {
    return Damaged("the header's sums are wrong");
  }
  return absl::OkStatus();
}

absl::Status Dataset::CheckRows() const {
  const auto rows = file_.text().substr(static_cast<size_t>(layout_.rows),
                                        static_cast<size_t>(layout_.entries - layout_.rows));
  if (HashBytes(rows) != header_.rows_digest) return Damaged("the rows' digest is wrong");
  for (int64_t r = 0; r < header_.num_rows; ++r) {
    const Row content = row(r);
    int64_t num_targets = 0;
    bool sound = true;
    for (const int32_t token : content.tokens) {
      sound &= static_cast<uint32_t>(token) < static_cast<uint32_t>(header_.vocab_size);
    }
    for (const uint8_t mask : content.target_mask) {
      sound &= mask < 2 + num_weights_;
      num_targets += mask != 0 ? 1 : 0;
    }
    for (const DatasetDocument& document : content.documents) {
      sound &= content.target_mask[static_cast<size_t>(document.begin)] == 0;
    }
    const auto padding = content.target_mask.subspan(static_cast<size_t>(Tokens(r)));
    sound &= std::all_of(padding.begin(), padding.end(), [](uint8_t mask) { return mask == 0; });
    if (!sound || num_targets != TargetTokens(r)) return Damaged("row ", r, " is inconsistent");
  }
  return absl::OkStatus();
}

int64_t Dataset::TargetTokens(int64_t row) const {
  LIQUID_CHECK(row >= -1 && row < header_.num_rows, "row ", row, " of ", header_.num_rows);
  return row < 0 ? 0 : entries()[row].num_targets;
}

float Dataset::Weight(uint8_t mask) const {
  if (mask < 2) return mask;
  LIQUID_CHECK(mask < 2 + num_weights_, path(), ": mask ", int{mask}, " of ", 2 + num_weights_);
  return header_.weights[mask - 2];
}

double Dataset::TargetWeight(int64_t row) const {
  if (row < 0 || !has_weights()) return static_cast<double>(TargetTokens(row));
  double sum = 0;
  for (const uint8_t mask : this->row(row).target_mask) sum += double{Weight(mask)};
  return sum;
}

int64_t Dataset::Tokens(int64_t row) const {
  LIQUID_CHECK(row >= -1 && row < header_.num_rows, "row ", row, " of ", header_.num_rows);
  return row < 0 ? 0 : entries()[row].num_tokens;
}

Dataset::Row Dataset::row(int64_t row) const {
  LIQUID_CHECK(row >= 0 && row < header_.num_rows, "row ", row, " of ", header_.num_rows);
  const std::byte* bytes = file_.bytes().data() + layout_.rows + row * layout_.row_bytes;
  const auto size = static_cast<size_t>(header_.sequence_length);
  const int64_t first = entries()[row].first_document;
  const int64_t end =
      row + 1 < header_.num_rows ? entries()[row + 1].first_document : header_.num_documents;
  return {{reinterpret_cast<const int32_t*>(bytes), size},
          {reinterpret_cast<const uint8_t*>(bytes + size * sizeof(int32_t)), size},
          documents().subspan(static_cast<size_t>(first), static_cast<size_t>(end - first))};
}

void Dataset::FillRow(int64_t row, int32_t* tokens, int32_t* targets, int32_t* positions,
                      int32_t* document_start) const {
  const int32_t size = header_.sequence_length;
  std::fill(targets, targets + size, kIgnoredTarget);
  int32_t used = 0;
  const auto fill_document = [&](int32_t begin, int32_t end) {
    for (int32_t t = begin; t < end; ++t) {
      document_start[t] = begin;
      positions[t] = t - begin;
    }
  };
  if (row == -1) {
    std::fill(tokens, tokens + size, header_.pad_token);
  } else {
    const Row content = this->row(row);
    bool in_vocabulary = true;
    for (int32_t t = 0; t < size; ++t) {
      tokens[t] = content.tokens[static_cast<size_t>(t)];
      in_vocabulary &= static_cast<uint32_t>(tokens[t]) < static_cast<uint32_t>(header_.vocab_size);
    }
    LIQUID_CHECK(in_vocabulary, path(), ": row ", row, " was damaged after it was written");
    for (const DatasetDocument& document : content.documents) {
      used = document.begin + document.num_tokens;
      fill_document(document.begin, used);
      for (int32_t t = document.begin; t + 1 < used; ++t) {
        if (content.target_mask[static_cast<size_t>(t) + 1] != 0) targets[t] = tokens[t + 1];
      }
    }
  }
  fill_document(used, size);
}

void Dataset::FillWeights(int64_t row, float* weights) const {
  std::fill(weights, weights + header_.sequence_length, 0.0F);
  if (row == -1) return;
  const Row content = this->row(row);
  for (const DatasetDocument& document : content.documents) {
    for (int32_t t = 1; t < document.num_tokens; ++t) {
      const int32_t at = document.begin + t;
      weights[at - 1] = Weight(content.target_mask[static_cast<size_t>(at)]);
    }
  }
}

std::string Dataset::Describe(const DatasetDocument& document) const {
  const std::string& path = sources_[static_cast<size_t>(document.source)].path;
  std::string text = absl::StrCat(path, ":", document.line);
  if (document.part > 0) absl::StrAppend(&text, " part ", document.part);
  return text;
}

}  // namespace liquid
