// Cuts a template into text and tokens, with Jinja's whitespace control as Hugging Face sets it
// (trim_blocks, lstrip_blocks, no trailing newline).
#ifndef LIQUID_DATA_JINJA_LEXER_H_
#define LIQUID_DATA_JINJA_LEXER_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace liquid::jinja {

struct Token {
  enum class Kind {
    kData,           // text: what stands outside of tags
    kBlockBegin,     // {%
    kBlockEnd,       // %}
    kVariableBegin,  // {{
    kVariableEnd,    // }}
    kName,           // text: the name
    kString,         // text: the value, escapes undone
    kInteger,        // integer
    kFloat,          // real
    kOperator,       // text: as written
    kEnd,
  };
  Kind kind = Kind::kEnd;
  size_t offset = 0;  // in the source
  std::string text;
  int64_t integer = 0;
  double real = 0;
};

// The source as the lexer sees it: line ends are "\n", one at the very end is dropped.
std::string NormalizeSource(std::string_view source);

// The tokens of a normalized source, the last one kEnd. InvalidArgument says where it is wrong.
absl::StatusOr<std::vector<Token>> Tokenize(std::string_view source, std::string_view name);

// InvalidArgument "name:line:column: what". Columns count code points from 1.
absl::Status ErrorAt(std::string_view source, std::string_view name, size_t offset,
                     std::string_view what);

}  // namespace liquid::jinja

#endif  // LIQUID_DATA_JINJA_LEXER_H_
