// The methods of strings, dicts and lists that templates call: text.strip(), message.get("x").
// Those that would change a list or dict are refused, as in the sandbox of Hugging Face.
#ifndef LIQUID_DATA_JINJA_METHODS_H_
#define LIQUID_DATA_JINJA_METHODS_H_

#include <string_view>

#include "absl/status/statusor.h"
#include "data/jinja/render_state.h"
#include "data/jinja/value.h"

namespace liquid::jinja {

// Whether values of this type have a method of that name, supported or not.
bool HasMethod(const Value& object, std::string_view name);

// object.name(arguments). REQUIRES: HasMethod(object, name).
absl::StatusOr<Value> CallMethod(RenderState& state, const Value& object, std::string_view name,
                                 const Arguments& arguments);

}  // namespace liquid::jinja

#endif  // LIQUID_DATA_JINJA_METHODS_H_
