// The expressions of Evaluator.
#include <utility>

#include "base/status.h"
#include "data/concat.h"
#include "data/jinja/evaluator.h"
#include "data/jinja/methods.h"
#include "data/jinja/operators.h"
#include "data/jinja/print.h"

namespace liquid::jinja {
namespace {

using Kind = Expression::Kind;

}  // namespace

absl::StatusOr<Value> Evaluator::Evaluate(const Expression& expression) {
  if (expression.kind == Kind::kConstant) return expression.constant;
  if (depth_ >= state_.limits().max_depth) {
    return At(expression.offset, absl::ResourceExhaustedError("evaluation is nested too deep"));
  }
  LIQUID_RETURN_IF_ERROR(At(expression.offset, state_.Charge(1)));
  ++depth_;
  absl::StatusOr<Value> value = EvaluateKind(expression);
  --depth_;
  return value;
}

absl::StatusOr<Value> Evaluator::EvaluateKind(const Expression& expression) {
  const auto& children = expression.children;
  switch (expression.kind) {
    case Kind::kConstant:
      return expression.constant;
    case Kind::kName: {
      const Value* value = scope_->Find(expression.symbol);
      return value == nullptr ? Value::Undefined(&expression.name) : *value;
    }
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kDict:
      return EvaluateContainer(expression);
    case Kind::kAttribute:
      return EvaluateAttribute(expression);
    case Kind::kSubscript:
      return EvaluateSubscript(expression);
    case Kind::kSlice:
      return EvaluateSlice(expression);
    case Kind::kCall:
      return EvaluateCall(expression, nullptr);
    case Kind::kFilter:
      return EvaluateFilter(expression);
    case Kind::kTest:
      return EvaluateTest(expression);
    case Kind::kConditional: {
      LIQUID_ASSIGN_OR_RETURN(const Value condition, Evaluate(*children[0]));
      if (condition.truthy()) return Evaluate(*children[1]);
      if (children[2] == nullptr) return Value();
      return Evaluate(*children[2]);
    }
    case Kind::kAnd:
    case Kind::kOr: {
      LIQUID_ASSIGN_OR_RETURN(Value left, Evaluate(*children[0]));
      if (left.truthy() == (expression.kind == Kind::kOr)) return left;
      return Evaluate(*children[1]);
    }
    case Kind::kNot: {
      LIQUID_ASSIGN_OR_RETURN(const Value value, Evaluate(*children[0]));
      return Value::Bool(!value.truthy());
    }
    case Kind::kNegative:
    case Kind::kPositive: {
      LIQUID_ASSIGN_OR_RETURN(const Value value, Evaluate(*children[0]));
      absl::StatusOr<Value> negated = Negate(value);
      if (!negated.ok()) return At(expression.offset, negated.status());
      return expression.kind == Kind::kNegative ? negated : Negate(*negated);
    }
    case Kind::kBinary:
      return EvaluateBinary(expression);
    case Kind::kCompare:
      return EvaluateCompare(expression);
    case Kind::kConcatenate:
      return EvaluateConcatenation(expression);
  }
  return Value();
}

absl::StatusOr<Value> Evaluator::EvaluateBinary(const Expression& expression) {
  LIQUID_ASSIGN_OR_RETURN(const Value left, Evaluate(*expression.children[0]));
  LIQUID_ASSIGN_OR_RETURN(const Value right, Evaluate(*expression.children[1]));
  absl::StatusOr<Value> result = ApplyBinary(state_, expression.binary, left, right);
  if (!result.ok()) return At(expression.offset, result.status());
  return result;
}

absl::StatusOr<Value> Evaluator::EvaluateContainer(const Expression& expression) {
  std::vector<Value> items;
  items.reserve(expression.children.size());
  for (const ExpressionPtr& child : expression.children) {
    LIQUID_ASSIGN_OR_RETURN(Value item, Evaluate(*child));
    items.push_back(std::move(item));
  }
  absl::StatusOr<Value> made;
  if (expression.kind == Kind::kDict) {
    std::vector<std::pair<Value, Value>> entries;
    for (size_t i = 0; i + 1 < items.size(); i += 2) {
      entries.emplace_back(std::move(items[i]), std::move(items[i + 1]));
    }
    made = MakeDict(std::move(entries));
  } else {
    made = MakeList(std::move(items),
                    expression.kind == Kind::kTuple ? List::Kind::kTuple : List::Kind::kList);
  }
  if (!made.ok()) return At(expression.offset, made.status());
  return made;
}

absl::StatusOr<Value> Evaluator::Member(const Value& object, const std::string& name,
                                        size_t offset) {
  if (object.is_undefined()) return At(offset, UndefinedError(object));
  // As Python's getattr() first: a dict's own methods come before its keys.
  if (HasMethod(object, name)) return BindMethod(object, name);
  return FindMember(object, name).value_or(Value::Undefined(&name));
}

absl::StatusOr<Value> Evaluator::EvaluateAttribute(const Expression& expression) {
  LIQUID_ASSIGN_OR_RETURN(const Value object, Evaluate(*expression.children[0]));
  return Member(object, expression.name, expression.offset);
}

absl::StatusOr<Value> Evaluator::EvaluateSubscript(const Expression& expression) {
  LIQUID_ASSIGN_OR_RETURN(const Value object, Evaluate(*expression.children[0]));
  LIQUID_ASSIGN_OR_RETURN(const Value index, Evaluate(*expression.children[1]));
  absl::StatusOr<Value> found = Subscript(object, index);
  if (!found.ok()) return At(expression.offset, found.status());
  if (!found->is_undefined() || !index.is_text()) return found;
  // As in Jinja, a missing key is looked for among the attributes.
  if (HasMethod(object, index.bytes())) return BindMethod(object, index.bytes());
  const Expression& key = *expression.children[1];
  return key.kind == Kind::kConstant ? Value::Undefined(&key.constant.bytes()) : Value();
}

absl::StatusOr<Value> Evaluator::EvaluateSlice(const Expression& expression) {
  LIQUID_ASSIGN_OR_RETURN(const Value object, Evaluate(*expression.children[0]));
  Value bounds[3];
  for (size_t i = 0; i < 3; ++i) {
    bounds[i] = Value::None();
    if (expression.children[i + 1] == nullptr) continue;
    LIQUID_ASSIGN_OR_RETURN(bounds[i], Evaluate(*expression.children[i + 1]));
  }
  absl::StatusOr<Value> slice = Slice(state_, object, bounds[0], bounds[1], bounds[2]);
  if (!slice.ok()) return At(expression.offset, slice.status());
  return slice;
}

absl::StatusOr<Arguments> Evaluator::EvaluateArguments(const Expression& expression) {
  using ArgumentKind = Expression::Argument::Kind;
  Arguments arguments;
  for (const Expression::Argument& argument : expression.arguments) {
    LIQUID_ASSIGN_OR_RETURN(Value value, Evaluate(*argument.value));
    if (argument.kind == ArgumentKind::kPositional) {
      arguments.positional.push_back(std::move(value));
    } else if (argument.kind == ArgumentKind::kNamed) {
      arguments.named.emplace_back(argument.name, std::move(value));
    } else if (argument.kind == ArgumentKind::kUnpackList) {
      absl::StatusOr<std::vector<Value>> items = Items(state_, value);
      if (!items.ok()) return At(expression.offset, items.status());
      for (Value& item : *items) arguments.positional.push_back(std::move(item));
    } else {
      if (!value.is_dict()) {
        return At(expression.offset, absl::InvalidArgumentError("** needs a dict"));
      }
      for (const auto& [key, entry] : value.dict().entries) {
        if (!key.is_text()) {
          return At(expression.offset, absl::InvalidArgumentError("** needs keys of text"));
        }
        arguments.named.emplace_back(key.bytes(), entry);
      }
    }
  }
  return arguments;
}

absl::StatusOr<Value> Evaluator::CallAttribute(const Expression& attribute, const Value& object,
                                               const Arguments& arguments) {
  if (HasMethod(object, attribute.name)) {
    return CallMethod(state_, object, attribute.name, arguments);
  }
  if (auto* loop = object.is_object() ? dynamic_cast<Loop*>(&object.object()) : nullptr) {
    if (attribute.name == "cycle") return loop->Cycle(arguments);
    if (attribute.name == "changed") return loop->Changed(arguments);
  }
  LIQUID_ASSIGN_OR_RETURN(const Value member, Member(object, attribute.name, attribute.offset));
  if (member.is_object()) return member.object().Call(state_, arguments);
  return absl::InvalidArgumentError(
      Concat("'", object.type_name(), "' has no method '", attribute.name, "'"));
}

absl::StatusOr<Value> Evaluator::EvaluateCall(const Expression& expression, const Value* caller) {
  const Expression& callee = *expression.children[0];
  const bool attribute = callee.kind == Kind::kAttribute;
  // Of a method, the object; else what is called.
  LIQUID_ASSIGN_OR_RETURN(const Value target, Evaluate(attribute ? *callee.children[0] : callee));
  LIQUID_ASSIGN_OR_RETURN(Arguments arguments, EvaluateArguments(expression));
  if (caller != nullptr) arguments.named.emplace_back("caller", *caller);
  absl::StatusOr<Value> result;
  if (attribute) {
    result = CallAttribute(callee, target, arguments);
  } else if (target.is_object()) {
    result = target.object().Call(state_, arguments);
  } else if (target.is_undefined()) {
    result = UndefinedError(target);
  } else {
    result =
        absl::InvalidArgumentError(Concat("'", target.type_name(), "' object is not callable"));
  }
  if (!result.ok()) return At(expression.offset, result.status());
  return result;
}

absl::StatusOr<Value> Evaluator::EvaluateFilter(const Expression& expression) {
  Value input;
  if (expression.children[0] == nullptr) {
    input = *filter_input_;
  } else {
    LIQUID_ASSIGN_OR_RETURN(input, Evaluate(*expression.children[0]));
  }
  LIQUID_ASSIGN_OR_RETURN(const Arguments arguments, EvaluateArguments(expression));
  absl::StatusOr<Value> result = expression.filter(state_, input, arguments);
  if (result.ok()) return result;
  return At(expression.offset, Annotate(result.status(), Concat("|", expression.name)));
}

absl::StatusOr<Value> Evaluator::EvaluateTest(const Expression& expression) {
  LIQUID_ASSIGN_OR_RETURN(const Value input, Evaluate(*expression.children[0]));
  LIQUID_ASSIGN_OR_RETURN(const Arguments arguments, EvaluateArguments(expression));
  const absl::StatusOr<bool> result = expression.test(state_, input, arguments);
  if (result.ok()) return Value::Bool(*result);
  return At(expression.offset, Annotate(result.status(), Concat("is ", expression.name)));
}

absl::StatusOr<Value> Evaluator::EvaluateCompare(const Expression& expression) {
  LIQUID_ASSIGN_OR_RETURN(Value left, Evaluate(*expression.children[0]));
  for (size_t i = 0; i < expression.comparisons.size(); ++i) {
    LIQUID_ASSIGN_OR_RETURN(Value right, Evaluate(*expression.children[i + 1]));
    const absl::StatusOr<bool> holds = Compare(state_, expression.comparisons[i], left, right);
    if (!holds.ok()) return At(expression.offset, holds.status());
    if (!*holds) return Value::Bool(false);
    left = std::move(right);
  }
  return Value::Bool(true);
}

absl::StatusOr<Value> Evaluator::EvaluateConcatenation(const Expression& expression) {
  Text out;
  for (const ExpressionPtr& child : expression.children) {
    LIQUID_ASSIGN_OR_RETURN(const Value value, Evaluate(*child));
    LIQUID_RETURN_IF_ERROR(Append(value, expression.offset, &out));
  }
  return Value::Of(std::move(out));
}

}  // namespace liquid::jinja
