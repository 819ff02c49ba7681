// Typed access to the members of a JSON object, with errors that say where in the file it is.
#ifndef LIQUID_DATA_JSON_FIELDS_H_
#define LIQUID_DATA_JSON_FIELDS_H_

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

namespace liquid {

// One object of a parsed file. `path` is its place, "pre_tokenizer.pretokenizers[0]". Members that
// are null count as absent. Errors are InvalidArgument, "PATH.KEY: what is wrong". The first error
// of the getters is latched in status(); they return the default from then on.
class JsonFields {
 public:
  // `value` must outlive this. An error if it is no object.
  JsonFields(const nlohmann::json& value, std::string path);

  const absl::Status& status() const { return status_; }
  const std::string& path() const { return path_; }
  // A component's "type"; "" without one, which is an error.
  std::string Type();
  // An error if there is a member that is not among `known`.
  void RefuseOthersThan(std::initializer_list<std::string_view> known);

  // The member of that name, or null.
  const nlohmann::json* Find(std::string_view key) const;
  std::string String(std::string_view key);  // required
  std::string String(std::string_view key, std::string_view absent);
  bool Bool(std::string_view key, bool absent);
  int64_t Integer(std::string_view key);  // required
  // A list, or null with an error.
  const nlohmann::json* List(std::string_view key);
  // "PATH.KEY"
  std::string PathOf(std::string_view key) const;
  void Fail(std::string_view key, std::string_view what);

 private:
  const nlohmann::json* value_;
  std::string path_;
  absl::Status status_;
};

// Parses `text`, InvalidArgument naming `path` if it is no JSON.
absl::StatusOr<nlohmann::json> ParseJson(std::string_view text, std::string_view path);

}  // namespace liquid

#endif  // LIQUID_DATA_JSON_FIELDS_H_
