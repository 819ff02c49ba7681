// JSON files of a checkpoint (index, manifest), read without trust.
#ifndef LIQUID_CHECKPOINT_JSON_DOCUMENT_H_
#define LIQUID_CHECKPOINT_JSON_DOCUMENT_H_

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

namespace liquid {

// Parses `text`. InvalidArgument, naming `path` and the place: not JSON or not UTF-8, a key twice
// in one object, more than 32 levels. Memory is a small multiple of the text's length.
absl::StatusOr<nlohmann::json> ParseJsonDocument(std::string_view text, const std::string& path);

// The same of a file of at most `max_bytes`.
absl::StatusOr<nlohmann::json> ReadJsonDocument(const std::string& path, int64_t max_bytes);

}  // namespace liquid

#endif  // LIQUID_CHECKPOINT_JSON_DOCUMENT_H_
