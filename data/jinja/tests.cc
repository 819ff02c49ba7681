#include "data/jinja/tests.h"

#include <algorithm>
#include <string_view>

#include "base/status.h"
#include "data/concat.h"
#include "data/jinja/arguments.h"
#include "data/jinja/case.h"
#include "data/jinja/filters.h"
#include "data/jinja/operators.h"

namespace liquid::jinja {
namespace {

using Result = absl::StatusOr<bool>;

// A test without arguments that looks at the value alone.
template <bool (*kPredicate)(const Value&)>
Result Simple(RenderState&, const Value& input, const Arguments& arguments) {
  LIQUID_RETURN_IF_ERROR(ExpectNoArguments(arguments));
  return kPredicate(input);
}

bool IsDefined(const Value& value) { return !value.is_undefined(); }
bool IsUndefined(const Value& value) { return value.is_undefined(); }
bool IsNone(const Value& value) { return value.is_none(); }
bool IsBoolean(const Value& value) { return value.is_bool(); }
bool IsTrue(const Value& value) { return value.is_bool() && value.boolean(); }
bool IsFalse(const Value& value) { return value.is_bool() && !value.boolean(); }
bool IsInteger(const Value& value) { return value.is_int(); }
bool IsFloat(const Value& value) { return value.is_float(); }
bool IsNumber(const Value& value) { return value.is_number(); }
bool IsString(const Value& value) { return value.is_text(); }
bool IsMapping(const Value& value) { return value.is_dict(); }
bool IsCallable(const Value& value) { return value.is_object() && value.object().callable(); }

// Undefined has a length and can be walked over, as in Jinja.
bool IsIterable(const Value& value) {
  return value.is_text() || value.is_list() || value.is_dict() || value.is_undefined();
}
bool IsSequence(const Value& value) {
  if (value.is_list()) {
    return value.list().kind != List::Kind::kGenerator && value.list().kind != List::Kind::kView;
  }
  return value.is_text() || value.is_dict() || value.is_undefined();
}

Result Parity(const Value& input, int64_t remainder) {
  if (!input.is_integral()) {
    return absl::InvalidArgumentError(
        Concat("an integer is needed, not '", input.type_name(), "'"));
  }
  return ((input.integer() % 2) + 2) % 2 == remainder;
}

Result IsEven(RenderState&, const Value& input, const Arguments& arguments) {
  LIQUID_RETURN_IF_ERROR(ExpectNoArguments(arguments));
  return Parity(input, 0);
}

Result IsOdd(RenderState&, const Value& input, const Arguments& arguments) {
  LIQUID_RETURN_IF_ERROR(ExpectNoArguments(arguments));
  return Parity(input, 1);
}

Result IsDivisibleBy(RenderState&, const Value& input, const Arguments& arguments) {
  LIQUID_ASSIGN_OR_RETURN(const auto bound, Bind(arguments, {"num"}));
  LIQUID_ASSIGN_OR_RETURN(const int64_t divisor, IntegerOr(bound[0], 0));
  if (!input.is_integral() || divisor == 0) {
    return absl::InvalidArgumentError("divisibleby needs integers, and a divisor other than 0");
  }
  return divisor == -1 || input.integer() % divisor == 0;
}

template <Comparison kComparison>
Result Compares(RenderState& state, const Value& input, const Arguments& arguments) {
  LIQUID_ASSIGN_OR_RETURN(const auto bound, Bind(arguments, {"other"}));
  if (bound[0] == nullptr) return absl::InvalidArgumentError("nothing to compare with");
  return Compare(state, kComparison, input, *bound[0]);
}

// Python's `is`: exact for None, booleans and objects; equality of the same kind for the rest.
Result IsSameAs(RenderState& state, const Value& input, const Arguments& arguments) {
  LIQUID_ASSIGN_OR_RETURN(const auto bound, Bind(arguments, {"other"}));
  if (bound[0] == nullptr) return absl::InvalidArgumentError("nothing to compare with");
  if (input.type_name() != bound[0]->type_name()) return false;
  return Compare(state, Comparison::kEqual, input, *bound[0]);
}

template <bool (*kPredicate)(const Text&)>
Result HasCase(RenderState&, const Value& input, const Arguments& arguments) {
  LIQUID_RETURN_IF_ERROR(ExpectNoArguments(arguments));
  return input.is_text() && kPredicate(input.text());
}

Result IsFilter(RenderState&, const Value& input, const Arguments& arguments) {
  LIQUID_RETURN_IF_ERROR(ExpectNoArguments(arguments));
  return input.is_text() && FindFilter(input.bytes()) != nullptr;
}

Result IsTest(RenderState&, const Value& input, const Arguments& arguments) {
  LIQUID_RETURN_IF_ERROR(ExpectNoArguments(arguments));
  return input.is_text() && FindTest(input.bytes()) != nullptr;
}

struct NamedTest {
  std::string_view name;
  TestFunction test;
};

constexpr NamedTest kTests[] = {
    {"defined", Simple<IsDefined>},
    {"undefined", Simple<IsUndefined>},
    {"none", Simple<IsNone>},
    {"boolean", Simple<IsBoolean>},
    {"true", Simple<IsTrue>},
    {"false", Simple<IsFalse>},
    {"integer", Simple<IsInteger>},
    {"float", Simple<IsFloat>},
    {"number", Simple<IsNumber>},
    {"string", Simple<IsString>},
    {"mapping", Simple<IsMapping>},
    {"iterable", Simple<IsIterable>},
    {"sequence", Simple<IsSequence>},
    {"callable", Simple<IsCallable>},
    {"even", IsEven},
    {"odd", IsOdd},
    {"divisibleby", IsDivisibleBy},
    {"eq", Compares<Comparison::kEqual>},
    {"equalto", Compares<Comparison::kEqual>},
    {"==", Compares<Comparison::kEqual>},
    {"ne", Compares<Comparison::kNotEqual>},
    {"!=", Compares<Comparison::kNotEqual>},
    {"lt", Compares<Comparison::kLess>},
    {"lessthan", Compares<Comparison::kLess>},
    {"<", Compares<Comparison::kLess>},
    {"le", Compares<Comparison::kLessEqual>},
    {"<=", Compares<Comparison::kLessEqual>},
    {"gt", Compares<Comparison::kGreater>},
    {"greaterthan", Compares<Comparison::kGreater>},
    {">", Compares<Comparison::kGreater>},
    {"ge", Compares<Comparison::kGreaterEqual>},
    {">=", Compares<Comparison::kGreaterEqual>},
    {"in", Compares<Comparison::kIn>},
    {"sameas", IsSameAs},
    {"upper", HasCase<IsUpper>},
    {"lower", HasCase<IsLower>},
    {"filter", IsFilter},
    {"test", IsTest},
};

}  // namespace

TestFunction FindTest(std::string_view name) {
  for (const NamedTest& each : kTests) {
    if (each.name == name) return each.test;
  }
  return nullptr;
}

}  // namespace liquid::jinja
