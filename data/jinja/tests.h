// Jinja's tests: {{ value is name(arguments) }}.
#ifndef LIQUID_DATA_JINJA_TESTS_H_
#define LIQUID_DATA_JINJA_TESTS_H_

#include <string_view>

#include "absl/status/statusor.h"
#include "data/jinja/render_state.h"
#include "data/jinja/value.h"

namespace liquid::jinja {

using TestFunction = absl::StatusOr<bool> (*)(RenderState& state, const Value& input,
                                              const Arguments& arguments);

// The test called `name`, or null.
TestFunction FindTest(std::string_view name);

}  // namespace liquid::jinja

#endif  // LIQUID_DATA_JINJA_TESTS_H_
