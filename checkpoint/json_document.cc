#include "checkpoint/json_document.h"

#include <cstdint>
#include <set>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status.h"
#include "checkpoint/safetensors.h"

namespace liquid {
namespace {

constexpr size_t kMaxDepth = 32;

// Walks a text without building anything, for what the building parser would let pass.
class CheckingEvents {
 public:
  using json = nlohmann::json;

  const std::string& error() const { return error_; }

  bool null() { return true; }
  bool boolean(bool) { return true; }
  bool number_integer(int64_t) { return true; }
  bool number_unsigned(uint64_t) { return true; }
  bool number_float(double, const std::string&) { return true; }
  bool string(std::string&) { return true; }
  bool binary(json::binary_t&) { return true; }
  bool start_object(size_t) { return Enter(); }
  bool end_object() { return Leave(); }
  bool start_array(size_t) { return Enter(); }
  bool end_array() { return Leave(); }
  bool key(std::string& key) {
    if (keys_.back().insert(key).second) return true;
    error_ = absl::StrCat("the key ", QuoteName(key), " twice in one object");
    return false;
  }
  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception&) {
    error_ = absl::StrCat("not JSON in UTF-8 (at byte ", position, ")");
    return false;
  }

 private:
  bool Enter() {
    keys_.emplace_back();
    if (keys_.size() <= kMaxDepth) return true;
    error_ = absl::StrCat("nested more than ", kMaxDepth, " deep");
    return false;
  }
  bool Leave() {
    keys_.pop_back();
    return true;
  }

  std::vector<std::set<std::string>> keys_;  // of each open object or list
  std::string error_;
};

}  // namespace

absl::StatusOr<nlohmann::json> ParseJsonDocument(std::string_view text, const std::string& path) {
  // The parser takes a NUL for the end of its input.
  if (text.find('\0') != std::string_view::npos) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": a NUL byte in JSON"));
  }
  CheckingEvents events;
  if (!nlohmann::json::sax_parse(text.begin(), text.end(), &events)) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": ", events.error()));
  }
  return nlohmann::json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
}

absl::StatusOr<nlohmann::json> ReadJsonDocument(const std::string& path, int64_t max_bytes) {
  LIQUID_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::Open(path));
  if (static_cast<int64_t>(file.text().size()) > max_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " has ", file.text().size(), " bytes; the limit is ", max_bytes));
  }
  return ParseJsonDocument(file.text(), path);
}

}  // namespace liquid
