// Python's printf-style formatting of strings.
#ifndef LIQUID_DATA_JINJA_FORMAT_STRING_H_
#define LIQUID_DATA_JINJA_FORMAT_STRING_H_

#include "absl/status/statusor.h"
#include "data/jinja/render_state.h"
#include "data/jinja/value.h"

namespace liquid::jinja {

// format % values: conversions s, r, d, i, f, x, o, %; flags, width and precision for numbers and
// strings; %(name)s with a dict. `values` is a tuple, or the one value.
absl::StatusOr<Value> FormatPercent(RenderState& state, const Value& format, const Value& values);

}  // namespace liquid::jinja

#endif  // LIQUID_DATA_JINJA_FORMAT_STRING_H_
