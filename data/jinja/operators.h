// What Python's operators, subscripts and slices do with template values.
// Errors are InvalidArgument, without a place: the evaluator adds it.
#ifndef LIQUID_DATA_JINJA_OPERATORS_H_
#define LIQUID_DATA_JINJA_OPERATORS_H_

#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "data/jinja/ast.h"
#include "data/jinja/render_state.h"
#include "data/jinja/value.h"

namespace liquid::jinja {

absl::StatusOr<Value> ApplyBinary(RenderState& state, BinaryOperator op, const Value& left,
                                  const Value& right);
absl::StatusOr<Value> Negate(const Value& value);

absl::StatusOr<bool> Compare(RenderState& state, Comparison op, const Value& left,
                             const Value& right);
// Whether `left` sorts before `right`; an error for kinds that Python cannot order.
absl::StatusOr<bool> Less(const Value& left, const Value& right);
absl::StatusOr<bool> Contains(RenderState& state, const Value& container, const Value& item);

// value[index]; undefined where there is nothing, an error if `value` is undefined.
absl::StatusOr<Value> Subscript(const Value& value, const Value& index);
// value.name as data: keys of dicts, attributes of objects; nullopt if there is none. Methods of
// strings, dicts and lists are not found here (data/jinja/methods.h).
std::optional<Value> FindMember(const Value& value, std::string_view name);
// value[start:stop:step], with Python's meaning of negative and missing bounds.
absl::StatusOr<Value> Slice(RenderState& state, const Value& value, const Value& start,
                            const Value& stop, const Value& step);

// What a for loop walks over: items, characters or keys. Takes the rest of a generator.
absl::StatusOr<std::vector<Value>> Items(RenderState& state, const Value& value);

// The error of using an undefined value for anything but printing and testing.
absl::Status UndefinedError(const Value& value);

}  // namespace liquid::jinja

#endif  // LIQUID_DATA_JINJA_OPERATORS_H_
