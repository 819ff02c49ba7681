#include "checkpoint/safetensors.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status.h"
#include "nlohmann/json.hpp"

namespace liquid {
namespace {

// A JSON string. Names are UTF-8 by contract; what is not comes out as U+FFFD.
std::string JsonString(const std::string& text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace

absl::StatusOr<int64_t> TensorNumBytes(DType dtype, absl::Span<const int64_t> shape) {
  int64_t num_bytes = SizeOf(dtype);
  bool overflow = false;
  bool empty = false;
  for (const int64_t extent : shape) {
    if (extent < 0) {
      return absl::InvalidArgumentError(
          absl::StrCat(DescribeTensor(dtype, shape), " has a negative extent"));
    }
    // A zero must not hide that the others overflow: what then follows may multiply in any order.
    empty = empty || extent == 0;
    if (extent != 0) overflow = overflow || __builtin_mul_overflow(num_bytes, extent, &num_bytes);
  }
  if (overflow) {
    return absl::InvalidArgumentError(
        absl::StrCat(DescribeTensor(dtype, shape), " has more bytes than 64 bits count"));
  }
  return empty ? 0 : num_bytes;
}

std::string DescribeTensor(DType dtype, absl::Span<const int64_t> shape) {
  const std::string_view name = DTypeName(dtype);
  return absl::StrCat(absl::string_view(name.data(), name.size()), " [", absl::StrJoin(shape, ","),
                      "]");
}

std::string QuoteName(std::string_view name) {
  constexpr size_t kMaxShown = 200;
  const absl::string_view shown(name.data(), std::min(name.size(), kMaxShown));
  return absl::StrCat("\"", absl::CHexEscape(shown), name.size() > kMaxShown ? "..." : "", "\"");
}

absl::StatusOr<SafetensorsFile> SafetensorsFile::Open(const std::string& path) {
  LIQUID_ASSIGN_OR_RETURN(MappedFile file, MappedFile::Open(path));
  LIQUID_ASSIGN_OR_RETURN(
      SafetensorsHeader header,
      ParseSafetensorsHeader(file.bytes(), static_cast<int64_t>(file.bytes().size()), path));
  return SafetensorsFile(std::move(file), std::move(header));
}

SafetensorsFile::SafetensorsFile(MappedFile file, SafetensorsHeader header)
    : file_(std::move(file)), header_(std::move(header)), by_name_(header_.tensors.size()) {
  std::iota(by_name_.begin(), by_name_.end(), 0);
  std::sort(by_name_.begin(), by_name_.end(), [this](int32_t a, int32_t b) {
    return header_.tensors[static_cast<size_t>(a)].spec.name <
           header_.tensors[static_cast<size_t>(b)].spec.name;
  });
}

const StoredTensor* SafetensorsFile::Find(std::string_view name) const {
  const auto it = std::lower_bound(
      by_name_.begin(), by_name_.end(), name, [this](int32_t index, std::string_view wanted) {
        return header_.tensors[static_cast<size_t>(index)].spec.name < wanted;
      });
  if (it == by_name_.end()) return nullptr;
  const StoredTensor& tensor = header_.tensors[static_cast<size_t>(*it)];
  return tensor.spec.name == name ? &tensor : nullptr;
}

absl::StatusOr<SafetensorsLayout> MakeSafetensorsLayout(
    std::vector<TensorSpec> tensors, const std::map<std::string, std::string>& metadata) {
  std::sort(tensors.begin(), tensors.end(), [](const TensorSpec& a, const TensorSpec& b) {
    const int size_a = SizeOf(a.dtype);
    const int size_b = SizeOf(b.dtype);
    return size_a != size_b ? size_a > size_b : a.name < b.name;
  });
  std::vector<std::string> members;
  if (!metadata.empty()) {
    const auto format = [](std::string* out, const auto& entry) {
      absl::StrAppend(out, JsonString(entry.first), ":", JsonString(entry.second));
    };
    members.push_back(
        absl::StrCat("\"__metadata__\":{", absl::StrJoin(metadata, ",", format), "}"));
  }
  SafetensorsLayout layout;
  int64_t position = 0;
  for (TensorSpec& spec : tensors) {
    LIQUID_ASSIGN_OR_RETURN(const int64_t num_bytes, TensorNumBytes(spec.dtype, spec.shape));
    int64_t end = 0;
    if (__builtin_add_overflow(position, num_bytes, &end)) {
      return absl::InvalidArgumentError("the tensors together have more bytes than 64 bits count");
    }
    const std::string_view dtype = DTypeName(spec.dtype);
    members.push_back(absl::StrCat(JsonString(spec.name), ":{\"dtype\":\"",
                                   absl::string_view(dtype.data(), dtype.size()), "\",\"shape\":[",
                                   absl::StrJoin(spec.shape, ","), "],\"data_offsets\":[", position,
                                   ",", end, "]}"));
    layout.tensors.push_back({std::move(spec), position, end});
    position = end;
  }
  std::string json = absl::StrCat("{", absl::StrJoin(members, ","), "}");
  json.append((8 - json.size() % 8) % 8, ' ');
  const uint64_t header_size = json.size();
  layout.header.assign(reinterpret_cast<const char*>(&header_size), sizeof(header_size));
  layout.header += json;

  const auto data_begin = static_cast<int64_t>(layout.header.size());
  for (StoredTensor& tensor : layout.tensors) {
    tensor.begin += data_begin;
    tensor.end += data_begin;
  }
  layout.file_size = data_begin + position;
  // What the reader would refuse (a name used twice, a header above the limit) is not written.
  const auto* bytes = reinterpret_cast<const std::byte*>(layout.header.data());
  LIQUID_RETURN_IF_ERROR(ParseSafetensorsHeader(absl::MakeSpan(bytes, layout.header.size()),
                                                layout.file_size, "the layout")
                             .status());
  return layout;
}

}  // namespace liquid
