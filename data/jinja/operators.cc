#include "data/jinja/operators.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <string>
#include <utility>

#include "base/status.h"
#include "data/concat.h"
#include "data/jinja/format_string.h"
#include "data/jinja/utf8.h"

namespace liquid::jinja {
namespace {

absl::Status NoSuchOperation(std::string_view op, const Value& left, const Value& right) {
  if (left.is_undefined()) return UndefinedError(left);
  if (right.is_undefined()) return UndefinedError(right);
  return absl::InvalidArgumentError(Concat("unsupported operands for ", op, ": '", left.type_name(),
                                           "' and '", right.type_name(), "'"));
}

std::string_view OperatorName(BinaryOperator op) {
  constexpr std::string_view kNames[] = {"+", "-", "*", "/", "//", "%", "**"};
  return kNames[static_cast<size_t>(op)];
}

absl::Status Overflow() {
  return absl::InvalidArgumentError("the result does not fit into 64 bits");
}

absl::StatusOr<Value> IntegerPower(int64_t base, int64_t exponent) {
  if (exponent < 0) {
    return Value::Float(std::pow(static_cast<double>(base), static_cast<double>(exponent)));
  }
  int64_t result = 1;
  for (int64_t i = 0; i < exponent; ++i) {
    if (__builtin_mul_overflow(result, base, &result)) return Overflow();
    if (result == 0 || base == 1) break;
    if (base == -1) return Value::Int(exponent % 2 == 0 ? 1 : -1);
  }
  return Value::Int(result);
}

absl::StatusOr<Value> IntegerArithmetic(BinaryOperator op, int64_t a, int64_t b) {
  int64_t result = 0;
  const bool divides =
      op == BinaryOperator::kDiv || op == BinaryOperator::kFloorDiv || op == BinaryOperator::kMod;
  if (divides && b == 0) return absl::InvalidArgumentError("division by zero");
  if (divides && b == -1 && a == std::numeric_limits<int64_t>::min()) return Overflow();
  switch (op) {
    case BinaryOperator::kAdd:
      if (__builtin_add_overflow(a, b, &result)) return Overflow();
      return Value::Int(result);
    case BinaryOperator::kSub:
      if (__builtin_sub_overflow(a, b, &result)) return Overflow();
      return Value::Int(result);
    case BinaryOperator::kMul:
      if (__builtin_mul_overflow(a, b, &result)) return Overflow();
      return Value::Int(result);
    case BinaryOperator::kDiv:
      return Value::Float(static_cast<double>(a) / static_cast<double>(b));
    case BinaryOperator::kFloorDiv:
      return Value::Int(a / b - ((a % b != 0) && ((a < 0) != (b < 0))));
    case BinaryOperator::kMod:
      return Value::Int((a % b != 0 && ((a < 0) != (b < 0))) ? a % b + b : a % b);
    case BinaryOperator::kPow:
      return IntegerPower(a, b);
  }
  return Overflow();
}

absl::StatusOr<Value> FloatArithmetic(BinaryOperator op, double a, double b) {
  const bool divides =
      op == BinaryOperator::kDiv || op == BinaryOperator::kFloorDiv || op == BinaryOperator::kMod;
  if (divides && b == 0) return absl::InvalidArgumentError("division by zero");
  switch (op) {
    case BinaryOperator::kAdd:
      return Value::Float(a + b);
    case BinaryOperator::kSub:
      return Value::Float(a - b);
    case BinaryOperator::kMul:
      return Value::Float(a * b);
    case BinaryOperator::kDiv:
      return Value::Float(a / b);
    case BinaryOperator::kFloorDiv:
      return Value::Float(std::floor(a / b));
    case BinaryOperator::kMod: {
      const double remainder = std::fmod(a, b);
      return Value::Float(remainder != 0 && ((remainder < 0) != (b < 0)) ? remainder + b
                                                                         : remainder);
    }
    case BinaryOperator::kPow:
      return Value::Float(std::pow(a, b));
  }
  return Overflow();
}

absl::StatusOr<Value> Repeat(RenderState& state, const Value& value, int64_t times) {
  const size_t count = static_cast<size_t>(std::max<int64_t>(times, 0));
  if (value.is_text()) {
    const size_t size = value.text().size();
    if (size > 0 && count > static_cast<size_t>(state.limits().max_text_bytes) / size) {
      return state.ChargeText(static_cast<size_t>(state.limits().max_text_bytes) + 1);
    }
    LIQUID_RETURN_IF_ERROR(state.ChargeText(size * count));
    Text out;
    for (size_t i = 0; i < count && size > 0; ++i) out.Append(value.text());
    return Value::Of(std::move(out));
  }
  const List& list = value.list();
  if (!list.items.empty() && count > static_cast<size_t>(kMaxValueNodes) / list.items.size()) {
    return absl::ResourceExhaustedError("the list is too long");
  }
  LIQUID_RETURN_IF_ERROR(state.Charge(static_cast<int64_t>(list.items.size() * count)));
  std::vector<Value> items;
  for (size_t i = 0; i < count; ++i) {
    items.insert(items.end(), list.items.begin(), list.items.end());
  }
  return MakeList(std::move(items), list.kind, list.origin);
}

bool IsSequence(const Value& value) {
  return value.is_list() &&
         (value.list().kind == List::Kind::kList || value.list().kind == List::Kind::kTuple);
}

absl::StatusOr<Value> Add(RenderState& state, const Value& left, const Value& right) {
  if (left.is_text() && right.is_text()) {
    LIQUID_RETURN_IF_ERROR(state.ChargeText(left.text().size() + right.text().size()));
    Text sum = left.text();
    sum.Append(right.text());
    return Value::Of(std::move(sum));
  }
  if (IsSequence(left) && IsSequence(right) && left.list().kind == right.list().kind) {
    std::vector<Value> items = left.list().items;
    items.insert(items.end(), right.list().items.begin(), right.list().items.end());
    LIQUID_RETURN_IF_ERROR(state.Charge(static_cast<int64_t>(items.size())));
    return MakeList(std::move(items), left.list().kind, left.list().origin);
  }
  return NoSuchOperation("+", left, right);
}

// Bounds of a slice over `size` items, as Python's slice.indices().
struct SliceRange {
  int64_t start = 0;
  int64_t stop = 0;
  int64_t step = 1;
};

absl::StatusOr<std::optional<int64_t>> SliceBound(const Value& value) {
  if (value.is_none() || value.is_undefined()) return std::nullopt;
  if (value.is_integral()) return value.integer();
  return absl::InvalidArgumentError(
      Concat("a slice needs integers, not '", value.type_name(), "'"));
}

absl::StatusOr<SliceRange> ResolveSlice(int64_t size, const Value& start, const Value& stop,
                                        const Value& step) {
  SliceRange range;
  LIQUID_ASSIGN_OR_RETURN(const auto wanted_step, SliceBound(step));
  LIQUID_ASSIGN_OR_RETURN(const auto wanted_start, SliceBound(start));
  LIQUID_ASSIGN_OR_RETURN(const auto wanted_stop, SliceBound(stop));
  range.step = std::clamp<int64_t>(wanted_step.value_or(1), -(int64_t{1} << 40), int64_t{1} << 40);
  if (range.step == 0) return absl::InvalidArgumentError("slice step cannot be zero");
  const int64_t low = range.step > 0 ? 0 : -1;
  const int64_t high = range.step > 0 ? size : size - 1;
  const auto clamp = [&](std::optional<int64_t> bound, int64_t missing) {
    if (!bound) return missing;
    return std::clamp(*bound < 0 ? std::max(*bound, -size - 1) + size : *bound, low, high);
  };
  range.start = clamp(wanted_start, range.step > 0 ? low : high);
  range.stop = clamp(wanted_stop, range.step > 0 ? high : low);
  return range;
}

Value SliceText(const Text& text, size_t size, const SliceRange& range) {
  const std::string_view bytes = text.bytes();
  if (range.step == 1) {
    const size_t begin = ByteOffset(bytes, static_cast<size_t>(range.start));
    const size_t count = static_cast<size_t>(std::max<int64_t>(range.stop - range.start, 0));
    return Value::Of(text.Slice(begin, begin + ByteOffset(bytes.substr(begin), count)));
  }
  std::vector<size_t> offsets;
  offsets.reserve(size + 1);
  for (size_t offset = 0; offset < bytes.size(); offset += CodePointBytes(bytes[offset])) {
    offsets.push_back(offset);
  }
  Text out;
  for (int64_t i = range.start; range.step > 0 ? i < range.stop : i > range.stop; i += range.step) {
    const size_t offset = offsets[static_cast<size_t>(i)];
    out.Append(bytes.substr(offset, CodePointBytes(bytes[offset])), text.OriginAt(offset));
  }
  return Value::Of(std::move(out));
}

}  // namespace

absl::Status UndefinedError(const Value& value) {
  if (value.undefined_name() == nullptr) return absl::InvalidArgumentError("a value is undefined");
  return absl::InvalidArgumentError(Concat("'", *value.undefined_name(), "' is undefined"));
}

absl::StatusOr<Value> ApplyBinary(RenderState& state, BinaryOperator op, const Value& left,
                                  const Value& right) {
  if (left.is_integral() && right.is_integral()) {
    return IntegerArithmetic(op, left.integer(), right.integer());
  }
  if (left.is_number() && right.is_number()) {
    return FloatArithmetic(op, left.number(), right.number());
  }
  if (op == BinaryOperator::kAdd) return Add(state, left, right);
  if (op == BinaryOperator::kMod && left.is_text()) return FormatPercent(state, left, right);
  if (op == BinaryOperator::kMul) {
    if ((left.is_text() || IsSequence(left)) && right.is_integral()) {
      return Repeat(state, left, right.integer());
    }
    if ((right.is_text() || IsSequence(right)) && left.is_integral()) {
      return Repeat(state, right, left.integer());
    }
  }
  return NoSuchOperation(OperatorName(op), left, right);
}

absl::StatusOr<Value> Negate(const Value& value) {
  if (value.is_float()) return Value::Float(-value.number());
  if (value.is_integral()) return IntegerArithmetic(BinaryOperator::kSub, 0, value.integer());
  if (value.is_undefined()) return UndefinedError(value);
  return absl::InvalidArgumentError(
      Concat("bad operand type for unary -: '", value.type_name(), "'"));
}

absl::StatusOr<bool> Less(const Value& left, const Value& right) {
  if (left.is_integral() && right.is_integral()) return left.integer() < right.integer();
  if (left.is_number() && right.is_number()) return left.number() < right.number();
  // UTF-8 sorts as its code points do.
  if (left.is_text() && right.is_text()) return left.bytes() < right.bytes();
  if (IsSequence(left) && IsSequence(right) && left.list().kind == right.list().kind) {
    const std::vector<Value>& a = left.list().items;
    const std::vector<Value>& b = right.list().items;
    for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
      if (!Equal(a[i], b[i])) return Less(a[i], b[i]);
    }
    return a.size() < b.size();
  }
  return NoSuchOperation("<", left, right);
}

absl::StatusOr<bool> Contains(RenderState& state, const Value& container, const Value& item) {
  if (container.is_text()) {
    if (!item.is_text()) {
      if (item.is_undefined()) return UndefinedError(item);
      return absl::InvalidArgumentError(
          Concat("'in <string>' requires a string on its left, not '", item.type_name(), "'"));
    }
    LIQUID_RETURN_IF_ERROR(state.Charge(1 + static_cast<int64_t>(container.text().size() / 64)));
    return container.bytes().find(item.bytes()) != std::string::npos;
  }
  if (container.is_dict()) return container.dict().Find(item) != nullptr;
  if (container.is_undefined()) return false;
  LIQUID_RETURN_IF_ERROR(state.Charge(container.num_nodes()));
  LIQUID_ASSIGN_OR_RETURN(const std::vector<Value> items, Items(state, container));
  return std::any_of(items.begin(), items.end(),
                     [&](const Value& each) { return Equal(each, item); });
}

absl::StatusOr<bool> Compare(RenderState& state, Comparison op, const Value& left,
                             const Value& right) {
  LIQUID_RETURN_IF_ERROR(state.Charge(std::min(left.num_nodes(), right.num_nodes())));
  switch (op) {
    case Comparison::kEqual:
      return Equal(left, right);
    case Comparison::kNotEqual:
      return !Equal(left, right);
    case Comparison::kLess:
      return Less(left, right);
    case Comparison::kGreater:
      return Less(right, left);
    case Comparison::kLessEqual: {
      LIQUID_ASSIGN_OR_RETURN(const bool less, Less(left, right));
      return less || Equal(left, right);
    }
    case Comparison::kGreaterEqual: {
      LIQUID_ASSIGN_OR_RETURN(const bool greater, Less(right, left));
      return greater || Equal(left, right);
    }
    case Comparison::kIn:
      return Contains(state, right, left);
    case Comparison::kNotIn: {
      LIQUID_ASSIGN_OR_RETURN(const bool contained, Contains(state, right, left));
      return !contained;
    }
  }
  return false;
}

std::optional<Value> FindMember(const Value& value, std::string_view name) {
  if (value.is_dict()) {
    const Value* found = value.dict().Find(name);
    return found == nullptr ? std::nullopt : std::optional<Value>(*found);
  }
  return value.is_object() ? value.object().Attribute(name) : std::nullopt;
}

absl::StatusOr<Value> Subscript(const Value& value, const Value& index) {
  if (value.is_undefined()) return UndefinedError(value);
  if (value.is_dict()) {
    const Value* found = value.dict().Find(index);
    return found == nullptr ? Value() : *found;
  }
  if (index.is_text()) return FindMember(value, index.bytes()).value_or(Value());
  if (!index.is_integral()) return Value();
  int64_t i = index.integer();
  if (value.is_text()) {
    const std::string_view bytes = value.bytes();
    if (i < 0) i += static_cast<int64_t>(CountCodePoints(bytes));
    if (i < 0 || i >= static_cast<int64_t>(bytes.size())) return Value();
    const size_t offset = ByteOffset(bytes, static_cast<size_t>(i));
    if (offset >= bytes.size()) return Value();
    return Value::Of(value.text().Slice(offset, offset + CodePointBytes(bytes[offset])));
  }
  if (!value.is_list()) return Value();
  const List& list = value.list();
  if (list.kind == List::Kind::kGenerator || list.kind == List::Kind::kView) return Value();
  const auto size = static_cast<int64_t>(list.items.size());
  if (i < 0) i += size;
  return i < 0 || i >= size ? Value() : list.items[static_cast<size_t>(i)];
}

absl::StatusOr<Value> Slice(RenderState& state, const Value& value, const Value& start,
                            const Value& stop, const Value& step) {
  if (value.is_undefined()) return UndefinedError(value);
  if (value.is_text()) {
    LIQUID_RETURN_IF_ERROR(state.ChargeText(value.text().size()));
    const size_t size = CountCodePoints(value.bytes());
    LIQUID_ASSIGN_OR_RETURN(const SliceRange range,
                            ResolveSlice(static_cast<int64_t>(size), start, stop, step));
    return SliceText(value.text(), size, range);
  }
  if (!IsSequence(value) && !(value.is_list() && value.list().kind == List::Kind::kRange)) {
    return Value();
  }
  const List& list = value.list();
  LIQUID_ASSIGN_OR_RETURN(const SliceRange range,
                          ResolveSlice(static_cast<int64_t>(list.items.size()), start, stop, step));
  std::vector<Value> items;
  for (int64_t i = range.start; range.step > 0 ? i < range.stop : i > range.stop; i += range.step) {
    items.push_back(list.items[static_cast<size_t>(i)]);
  }
  LIQUID_RETURN_IF_ERROR(state.Charge(static_cast<int64_t>(items.size())));
  return MakeList(std::move(items), list.kind, list.origin);
}

absl::StatusOr<std::vector<Value>> Items(RenderState& state, const Value& value) {
  std::vector<Value> items;
  if (value.is_undefined()) return items;
  if (value.is_list()) {
    const List& list = value.list();
    LIQUID_RETURN_IF_ERROR(state.Charge(static_cast<int64_t>(list.items.size())));
    if (list.kind != List::Kind::kGenerator) return list.items;
    items.assign(list.items.begin() + static_cast<ptrdiff_t>(list.num_taken), list.items.end());
    list.num_taken = list.items.size();
    return items;
  }
  if (value.is_dict()) {
    LIQUID_RETURN_IF_ERROR(state.Charge(static_cast<int64_t>(value.dict().entries.size())));
    for (const auto& [key, entry] : value.dict().entries) items.push_back(key);
    return items;
  }
  if (!value.is_text()) {
    return absl::InvalidArgumentError(Concat("'", value.type_name(), "' object is not iterable"));
  }
  const std::string& bytes = value.bytes();
  LIQUID_RETURN_IF_ERROR(state.Charge(static_cast<int64_t>(bytes.size())));
  for (size_t offset = 0; offset < bytes.size(); offset += CodePointBytes(bytes[offset])) {
    items.push_back(Value::Of(value.text().Slice(offset, offset + CodePointBytes(bytes[offset]))));
  }
  return items;
}

}  // namespace liquid::jinja
