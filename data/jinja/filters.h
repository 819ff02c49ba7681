// Jinja's filters: {{ value | name(arguments) }}.
#ifndef LIQUID_DATA_JINJA_FILTERS_H_
#define LIQUID_DATA_JINJA_FILTERS_H_

#include <string_view>

#include "absl/status/statusor.h"
#include "data/jinja/render_state.h"
#include "data/jinja/value.h"

namespace liquid::jinja {

using FilterFunction = absl::StatusOr<Value> (*)(RenderState& state, const Value& input,
                                                 const Arguments& arguments);

// The filter called `name`, or null. Those that make HTML are missing on purpose.
FilterFunction FindFilter(std::string_view name);

// Its two families; FindFilter asks both.
FilterFunction FindTextFilter(std::string_view name);
FilterFunction FindListFilter(std::string_view name);

}  // namespace liquid::jinja

#endif  // LIQUID_DATA_JINJA_FILTERS_H_
