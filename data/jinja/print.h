// Values as text: as Python's str() and repr() print them, and as json.dumps() does.
#ifndef LIQUID_DATA_JINJA_PRINT_H_
#define LIQUID_DATA_JINJA_PRINT_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "data/jinja/render_state.h"
#include "data/jinja/text.h"
#include "data/jinja/value.h"

namespace liquid::jinja {

// str(value): what {{ value }} prints. Undefined is empty. Bytes of lists and dicts that are not
// a text's own get the container's origin.
absl::StatusOr<Text> ToText(RenderState& state, const Value& value);

// repr(value).
absl::StatusOr<Text> ToRepr(RenderState& state, const Value& value);

// The options of json.dumps(). `indent` is null for one line.
struct JsonStyle {
  bool ensure_ascii = false;
  bool sort_keys = false;
  const std::string* indent = nullptr;  // per level
  std::string item_separator = ", ";
  std::string key_separator = ": ";
};

// InvalidArgument for what JSON cannot say, such as undefined.
absl::StatusOr<Text> ToJson(RenderState& state, const Value& value, const JsonStyle& style);

// repr() of a float: the shortest digits that read back as the same number.
std::string FloatRepr(double value);

}  // namespace liquid::jinja

#endif  // LIQUID_DATA_JINJA_PRINT_H_
