// A YAML document as a tree that knows where each of its parts stands in the file. The one place
// that knows yaml-cpp, and that stops its exceptions.
#ifndef LIQUID_PROTO_YAML_DOCUMENT_H_
#define LIQUID_PROTO_YAML_DOCUMENT_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace liquid {

struct YamlNode {
  enum class Kind { kNull, kScalar, kSequence, kMap };

  Kind kind = Kind::kNull;
  std::string text;     // of a scalar
  bool quoted = false;  // a scalar in quotes: never a number or a bool
  std::string where;    // "file:line:column", counted from 1
  // The items of a sequence, or the values of a map in the order of the file.
  std::vector<YamlNode> children;
  // Of a value in a map: its key, and where that stands.
  std::string key;
  std::string key_where;

  // The value of `name` in a map; null if it is not there.
  const YamlNode* Find(std::string_view name) const;
};

// Parses a text of exactly one document. `name` stands for the file in `where` and in errors.
// InvalidArgument, starting with "name:line:column:", when it is not YAML, is nested deeper than
// 32, has more than 100,000 parts, or a map has a key twice or a key that is no scalar.
absl::StatusOr<YamlNode> ParseYaml(const std::string& text, const std::string& name);

}  // namespace liquid

#endif  // LIQUID_PROTO_YAML_DOCUMENT_H_
