// Operations on strings that methods and filters share. All keep origins.
#ifndef LIQUID_DATA_JINJA_STRING_OPERATIONS_H_
#define LIQUID_DATA_JINJA_STRING_OPERATIONS_H_

#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "data/jinja/render_state.h"
#include "data/jinja/value.h"

namespace liquid::jinja {

enum class Side { kLeft, kRight, kBoth };

// `characters` null: whitespace.
Text Strip(const Text& text, const std::string_view* characters, Side side);

// As str.split() with `separator`, or at runs of whitespace where it is null; at most `max_splits`
// cuts unless negative, counted from the right if `from_right`. REQUIRES: *separator not empty.
std::vector<Value> Split(const Text& text, const std::string_view* separator, int64_t max_splits,
                         bool from_right);

// As str.splitlines().
std::vector<Value> SplitLines(const Text& text, bool keep_ends);

// As str.replace(); all occurrences if `max_count` is negative. What a template puts in place of
// a message's words counts as the message's.
absl::StatusOr<Text> Replace(RenderState& state, const Text& text, std::string_view from,
                             const Text& to, int64_t max_count);

// Items as str() prints them, with `separator` between.
absl::StatusOr<Text> Join(RenderState& state, const std::vector<Value>& items,
                          const Text& separator);

// `text` with `fill` around, up to `width` code points. kLeft puts the text left.
absl::StatusOr<Text> Pad(RenderState& state, const Text& text, int64_t width, Side side,
                         std::string_view fill);

}  // namespace liquid::jinja

#endif  // LIQUID_DATA_JINJA_STRING_OPERATIONS_H_
