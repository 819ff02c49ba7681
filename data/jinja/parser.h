// Parses a whole template.
#ifndef LIQUID_DATA_JINJA_PARSER_H_
#define LIQUID_DATA_JINJA_PARSER_H_

#include <string_view>

#include "absl/status/statusor.h"
#include "data/jinja/ast.h"

namespace liquid::jinja {

// `source`: as NormalizeSource() returns it. InvalidArgument "name:line:column: what" for wrong
// syntax and for what this engine does not support: include, import, extends, block, do,
// autoescape, trans, and unknown tags, filters and tests.
absl::StatusOr<Ast> ParseTemplate(std::string_view source, std::string_view name);

}  // namespace liquid::jinja

#endif  // LIQUID_DATA_JINJA_PARSER_H_
