// The hardened reader of safetensors headers. JSON comes in as events, so that duplicate keys are
// seen and a hostile header costs no more memory than a small multiple of its own length.
#include <algorithm>
#include <bit>
#include <cstring>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "checkpoint/safetensors.h"
#include "nlohmann/json.hpp"

namespace liquid {
namespace {

// What the header has said of one tensor so far; offsets are still counted from the data's start.
struct Entry {
  std::string name;
  std::optional<DType> dtype;
  std::optional<std::vector<int64_t>> shape;
  std::optional<std::vector<int64_t>> offsets;
};

// Receives the events of nlohmann's parser. A handler that returns false ends the parse; why is in
// error(). The grammar is flat, so one enum says where we are:
//   {"__metadata__": {key: string}, name: {"dtype": string, "shape": [n], "data_offsets": [n, n]}}
class HeaderEvents {
 public:
  using json = nlohmann::json;

  const std::string& error() const { return error_; }
  std::vector<Entry>& entries() { return entries_; }
  std::map<std::string, std::string>& metadata() { return metadata_; }

  bool null() { return Fail("null has no place in a header"); }
  bool boolean(bool) { return Fail("a boolean has no place in a header"); }
  bool number_float(double, const std::string& text) {
    return Fail("the number ", text, " is not an integer of 64 bits");
  }
  bool number_integer(int64_t value) { return Fail("the number ", value, " is negative"); }
  bool number_unsigned(uint64_t value) {
    if (state_ != State::kShape && state_ != State::kOffsets) {
      return Fail("the number ", value, " stands where there should be none");
    }
    if (value > INT64_MAX) return Fail("the number ", value, " is too large");
    auto& list = state_ == State::kShape ? entries_.back().shape : entries_.back().offsets;
    if (static_cast<int>(list->size()) == kMaxTensorRank) {
      return Fail("a list has more than ", kMaxTensorRank, " numbers");
    }
    list->push_back(static_cast<int64_t>(value));
    return true;
  }
  bool string(std::string& value) {
    if (state_ == State::kMetadata) {
      metadata_[key_] = std::move(value);
      return true;
    }
    if (state_ != State::kTensor || key_ != "dtype") {
      return Fail("the text ", QuoteName(value), " stands where there should be none");
    }
    entries_.back().dtype = DTypeFromName(value);
    if (!entries_.back().dtype.has_value()) return Fail("unknown dtype ", QuoteName(value));
    return true;
  }
  bool binary(json::binary_t&) { return Fail("binary data in a header"); }

  bool start_object(size_t) {
    switch (state_) {
      case State::kStart:
        state_ = State::kTop;
        return true;
      case State::kTop:
        state_ = key_ == "__metadata__" ? State::kMetadata : State::kTensor;
        inner_keys_.clear();
        return true;
      default:
        return Fail("an object stands where there should be none");
    }
  }
  bool key(std::string& key) {
    switch (state_) {
      case State::kTop:
        return TopKey(key);
      case State::kMetadata:
        if (!inner_keys_.insert(key).second) {
          return Fail("__metadata__ has the key ", QuoteName(key), " twice");
        }
        break;
      default:
        if (key != "dtype" && key != "shape" && key != "data_offsets") {
          return Fail("unknown key ", QuoteName(key));
        }
        if (!inner_keys_.insert(key).second) return Fail("the key ", QuoteName(key), " twice");
    }
    key_ = std::move(key);
    return true;
  }
  bool end_object() {
    if (state_ == State::kTensor && inner_keys_.size() != 3) {
      return Fail("dtype, shape and data_offsets are all needed");
    }
    if (state_ == State::kTensor && entries_.back().offsets->size() != 2) {
      return Fail("data_offsets must be two numbers");
    }
    state_ = state_ == State::kTop ? State::kEnd : State::kTop;
    return true;
  }
  bool start_array(size_t) {
    if (state_ != State::kTensor || key_ == "dtype") {
      return Fail("a list stands where there should be none");
    }
    state_ = key_ == "shape" ? State::kShape : State::kOffsets;
    auto& list = key_ == "shape" ? entries_.back().shape : entries_.back().offsets;
    list.emplace();
    return true;
  }
  bool end_array() {
    state_ = State::kTensor;
    return true;
  }
  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception&) {
    error_ = absl::StrCat("the header is not JSON in UTF-8 (at byte ", position + 7, ")");
    return false;
  }

 private:
  enum class State { kStart, kTop, kMetadata, kTensor, kShape, kOffsets, kEnd };

  bool TopKey(std::string& key) {
    if (key == "__metadata__") {
      if (std::exchange(has_metadata_, true)) return Fail("__metadata__ appears twice");
    } else {
      entries_.emplace_back().name = key;
    }
    key_ = std::move(key);
    return true;
  }

  template <typename... Args>
  bool Fail(const Args&... args) {
    const bool in_tensor =
        !entries_.empty() &&
        (state_ == State::kTensor || state_ == State::kShape || state_ == State::kOffsets);
    error_ = absl::StrCat(
        in_tensor ? absl::StrCat("tensor ", QuoteName(entries_.back().name), ": ") : "", args...);
    return false;
  }

  State state_ = State::kStart;
  std::string key_;  // the last one
  std::set<std::string> inner_keys_;
  bool has_metadata_ = false;
  std::vector<Entry> entries_;
  std::map<std::string, std::string> metadata_;
  std::string error_;
};

// Moves `entry` into `tensors` once its own numbers agree with each other and with `data_size`.
absl::Status AddTensor(Entry entry, int64_t data_begin, int64_t data_size,
                       std::vector<StoredTensor>& tensors) {
  const std::string who = absl::StrCat("tensor ", QuoteName(entry.name));
  const int64_t begin = (*entry.offsets)[0];
  const int64_t end = (*entry.offsets)[1];
  if (begin > end || end > data_size) {
    return absl::InvalidArgumentError(absl::StrCat(who, ": data_offsets [", begin, ",", end,
                                                   "] leave the data, which has ", data_size,
                                                   " bytes"));
  }
  const absl::StatusOr<int64_t> num_bytes = TensorNumBytes(*entry.dtype, *entry.shape);
  if (!num_bytes.ok()) return Annotate(num_bytes.status(), who);
  if (*num_bytes != end - begin) {
    return absl::InvalidArgumentError(
        absl::StrCat(who, ": ", DescribeTensor(*entry.dtype, *entry.shape), " needs ", *num_bytes,
                     " bytes, but data_offsets [", begin, ",", end, "] give ", end - begin));
  }
  tensors.push_back({{std::move(entry.name), *entry.dtype, *std::move(entry.shape)},
                     data_begin + begin,
                     data_begin + end});
  return absl::OkStatus();
}

// Names are unique, and the tensors, put in the order of their bytes, cover the data exactly.
absl::Status CheckCoverage(std::vector<StoredTensor>& tensors, int64_t data_begin,
                           int64_t file_size) {
  std::sort(tensors.begin(), tensors.end(), [](const StoredTensor& a, const StoredTensor& b) {
    return std::tie(a.begin, a.end, a.spec.name) < std::tie(b.begin, b.end, b.spec.name);
  });
  std::vector<std::string_view> names;
  names.reserve(tensors.size());
  int64_t position = data_begin;
  for (const StoredTensor& tensor : tensors) {
    if (tensor.begin != position) {
      return absl::InvalidArgumentError(absl::StrCat(
          "tensor ", QuoteName(tensor.spec.name), ": its bytes start at ", tensor.begin,
          tensor.begin < position ? ", inside the tensor before it, which ends at "
                                  : ", a hole behind the tensor before it, which ends at ",
          position));
    }
    position = tensor.end;
    names.push_back(tensor.spec.name);
  }
  if (position != file_size) {
    return absl::InvalidArgumentError(absl::StrCat("the last tensor ends at byte ", position,
                                                   ", but the file has ", file_size, " bytes"));
  }
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  if (twice != names.end()) {
    return absl::InvalidArgumentError(absl::StrCat("the tensor ", QuoteName(*twice), " twice"));
  }
  return absl::OkStatus();
}

absl::StatusOr<SafetensorsHeader> ParseHeader(absl::Span<const std::byte> start,
                                              int64_t file_size) {
  if (start.size() < 8) return absl::InvalidArgumentError("too short for the header's length");
  static_assert(std::endian::native == std::endian::little);
  uint64_t header_size = 0;
  std::memcpy(&header_size, start.data(), sizeof(header_size));
  if (header_size > kMaxSafetensorsHeaderBytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        "a header of ", header_size, " bytes; the limit is ", kMaxSafetensorsHeaderBytes));
  }
  if (header_size > start.size() - 8) {
    return absl::InvalidArgumentError(
        absl::StrCat("a header of ", header_size, " bytes in a file of ", file_size, " bytes"));
  }
  const std::string_view text(reinterpret_cast<const char*>(start.data()) + 8, header_size);
  if (!text.starts_with('{')) return absl::InvalidArgumentError("the header must start with {");
  // The parser takes a NUL for the end of its input.
  const size_t last = text.find_last_not_of(' ');
  if (text[last] != '}' || text.find('\0') != std::string_view::npos) {
    return absl::InvalidArgumentError("the header must end with } and nothing but spaces");
  }

  HeaderEvents events;
  const bool parsed = nlohmann::json::sax_parse(text.begin(), text.end(), &events);
  if (!parsed) return absl::InvalidArgumentError(events.error());
  SafetensorsHeader header;
  header.data_begin = 8 + static_cast<int64_t>(header_size);
  header.metadata = std::move(events.metadata());
  header.tensors.reserve(events.entries().size());
  for (Entry& entry : events.entries()) {
    LIQUID_RETURN_IF_ERROR(AddTensor(std::move(entry), header.data_begin,
                                     file_size - header.data_begin, header.tensors));
  }
  LIQUID_RETURN_IF_ERROR(CheckCoverage(header.tensors, header.data_begin, file_size));
  return header;
}

}  // namespace

absl::StatusOr<SafetensorsHeader> ParseSafetensorsHeader(absl::Span<const std::byte> start,
                                                         int64_t file_size,
                                                         const std::string& path) {
  absl::StatusOr<SafetensorsHeader> header = ParseHeader(start, file_size);
  if (header.ok()) return header;
  return Annotate(header.status(), absl::StrCat(path, " is not a sound safetensors file"));
}

}  // namespace liquid
