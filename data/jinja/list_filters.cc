// Filters on lists and dicts.
#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "base/status.h"
#include "data/concat.h"
#include "data/jinja/arguments.h"
#include "data/jinja/case.h"
#include "data/jinja/filters.h"
#include "data/jinja/methods.h"
#include "data/jinja/operators.h"
#include "data/jinja/print.h"
#include "data/jinja/string_operations.h"
#include "data/jinja/tests.h"
#include "data/jinja/utf8.h"

namespace liquid::jinja {
namespace {

using Result = absl::StatusOr<Value>;

// What map(attribute=...) and its like read off each item: "a.b.0" is item["a"]["b"][0].
class AttributePath {
 public:
  static absl::StatusOr<AttributePath> Create(const Value* attribute) {
    AttributePath path;
    if (attribute == nullptr || attribute->is_none()) return path;
    if (attribute->is_integral()) {
      path.steps_.push_back(*attribute);
      return path;
    }
    if (!attribute->is_text()) {
      return absl::InvalidArgumentError("attribute must be a string or an integer");
    }
    std::string_view rest = attribute->bytes();
    while (true) {
      const size_t dot = rest.find('.');
      const std::string part(rest.substr(0, dot));
      int64_t index = 0;
      const bool digits = part.find_first_not_of("0123456789") == std::string_view::npos;
      path.steps_.push_back(digits && absl::SimpleAtoi(part, &index)
                                ? Value::Int(index)
                                : Value::Of(std::string_view(part)));
      if (dot == std::string_view::npos) break;
      rest.remove_prefix(dot + 1);
    }
    return path;
  }

  absl::StatusOr<Value> Get(const Value& item, const Value* missing = nullptr) const {
    Value value = item;
    for (const Value& step : steps_) {
      LIQUID_ASSIGN_OR_RETURN(value, Subscript(value, step));
      if (value.is_undefined() && missing != nullptr) return *missing;
    }
    return value;
  }

 private:
  std::vector<Value> steps_;
};

// What sorting and grouping compare: text without its case, unless asked.
Value SortKey(const Value& value, bool case_sensitive) {
  return value.is_text() && !case_sensitive ? Value::Of(ToLower(value.text())) : value;
}

// Stable, smallest first. The error of the first pair that Python could not compare, if any.
absl::Status SortByKey(RenderState& state, bool descending,
                       std::vector<std::pair<Value, Value>>* keyed) {
  int64_t levels = 1;
  while ((size_t{1} << levels) < keyed->size()) ++levels;
  LIQUID_RETURN_IF_ERROR(state.Charge(static_cast<int64_t>(keyed->size()) * levels));
  // std::stable_sort needs a total order: see first that there is one.
  for (size_t i = 1; i < keyed->size(); ++i) {
    LIQUID_RETURN_IF_ERROR(Less((*keyed)[0].first, (*keyed)[i].first).status());
  }
  absl::Status status;
  std::stable_sort(keyed->begin(), keyed->end(), [&](const auto& a, const auto& b) {
    const absl::StatusOr<bool> less = descending ? Less(b.first, a.first) : Less(a.first, b.first);
    if (less.ok()) return *less;
    status = less.status();
    return false;
  });
  return status;
}

Result TakeValues(std::vector<std::pair<Value, Value>> keyed, List::Kind kind) {
  std::vector<Value> items;
  items.reserve(keyed.size());
  for (auto& [key, value] : keyed) items.push_back(std::move(value));
  return MakeList(std::move(items), kind);
}

Result Length(RenderState&, const Value& input, const Arguments& arguments) {
  LIQUID_RETURN_IF_ERROR(ExpectNoArguments(arguments));
  size_t size = 0;
  if (input.is_text()) {
    size = CountCodePoints(input.bytes());
  } else if (input.is_list() && input.list().kind != List::Kind::kGenerator) {
    size = input.list().items.size();
  } else if (input.is_dict()) {
    size = input.dict().entries.size();
  } else if (!input.is_undefined()) {
    return absl::InvalidArgumentError(
        Concat("object of type '", input.type_name(), "' has no length"));
  }
  return Value::Int(static_cast<int64_t>(size));
}

Result Default(RenderState&, const Value& input, const Arguments& arguments) {
  LIQUID_ASSIGN_OR_RETURN(const auto bound, Bind(arguments, {"default_value", "boolean"}));
  const bool missing = input.is_undefined() || (TruthyOr(bound[1], false) && !input.truthy());
  if (!missing) return input;
  return bound[0] == nullptr ? Value::Of(Text()) : *bound[0];
}

Result JoinFilter(RenderState& state, const Value& input, const Arguments& arguments) {
  LIQUID_ASSIGN_OR_RETURN(const auto bound, Bind(arguments, {"d", "attribute"}));
  LIQUID_ASSIGN_OR_RETURN(const AttributePath path, AttributePath::Create(bound[1]));
  LIQUID_ASSIGN_OR_RETURN(std::vector<Value> items, Items(state, input));
  for (Value& item : items) {
    LIQUID_ASSIGN_OR_RETURN(item, path.Get(item));
  }
  LIQUID_ASSIGN_OR_RETURN(const Text separator,
                          bound[0] == nullptr ? Text() : ToText(state, *bound[0]));
  LIQUID_ASSIGN_OR_RETURN(Text out, Join(state, items, separator));
  return Value::Of(std::move(out));
}

Result ListFilter(RenderState& state, const Value& input, const Arguments& arguments) {
  LIQUID_RETURN_IF_ERROR(ExpectNoArguments(arguments));
  LIQUID_ASSIGN_OR_RETURN(std::vector<Value> items, Items(state, input));
  return MakeList(std::move(items), List::Kind::kList,
                  input.is_list() ? input.list().origin : Origin());
}

Result First(RenderState& state, const Value& input, const Arguments& arguments) {
  LIQUID_RETURN_IF_ERROR(ExpectNoArguments(arguments));
  if (input.is_list() && input.list().kind == List::Kind::kGenerator) {
    const List& list = input.list();
    return list.num_taken < list.items.size() ? list.items[list.num_taken++] : Value();
  }
  LIQUID_ASSIGN_OR_RETURN(const std::vector<Value> items, Items(state, input));
  return items.empty() ? Value() : items.front();
}

Result Last(RenderState& state, const Value& input, const Arguments& arguments) {
  LIQUID_RETURN_IF_ERROR(ExpectNoArguments(arguments));
  if (input.is_list() && input.list().kind == List::Kind::kGenerator) {
    return absl::InvalidArgumentError("'generator' object is not reversible: use |list first");
  }
  LIQUID_ASSIGN_OR_RETURN(const std::vector<Value> items, Items(state, input));
  return items.empty() ? Value() : items.back();
}

Result Reverse(RenderState& state, const Value& input, const Arguments& arguments) {
  LIQUID_RETURN_IF_ERROR(ExpectNoArguments(arguments));
  if (input.is_text()) return Slice(state, input, Value(), Value(), Value::Int(-1));
  LIQUID_ASSIGN_OR_RETURN(std::vector<Value> items, Items(state, input));
  std::reverse(items.begin(), items.end());
  return MakeList(std::move(items), List::Kind::kGenerator);
}

Result ItemsFilter(RenderState& state, const Value& input, const Arguments& arguments) {
  LIQUID_RETURN_IF_ERROR(ExpectNoArguments(arguments));
  if (input.is_undefined()) return MakeList({}, List::Kind::kGenerator);
  if (!input.is_dict())
    return absl::InvalidArgumentError("Can only get item pairs from a mapping.");
  LIQUID_ASSIGN_OR_RETURN(const Value view, CallMethod(state, input, "items", {}));
  return MakeList(view.list().items, List::Kind::kGenerator, input.dict().origin);
}

Result DictSort(RenderState& state, const Value& input, const Arguments& arguments) {
  LIQUID_ASSIGN_OR_RETURN(const auto bound, Bind(arguments, {"case_sensitive", "by", "reverse"}));
  if (!input.is_dict()) {
    if (input.is_undefined()) return UndefinedError(input);
    return absl::InvalidArgumentError(
        Concat("dictsort needs a dict, not '", input.type_name(), "'"));
  }
  const bool by_value = bound[1] != nullptr && bound[1]->is_text() && bound[1]->bytes() == "value";
  LIQUID_ASSIGN_OR_RETURN(const Value view, CallMethod(state, input, "items", {}));
  std::vector<std::pair<Value, Value>> keyed;
  for (const Value& item : view.list().items) {
    keyed.emplace_back(SortKey(item.list().items[by_value], TruthyOr(bound[0], false)), item);
  }
  LIQUID_RETURN_IF_ERROR(SortByKey(state, TruthyOr(bound[2], false), &keyed));
  return TakeValues(std::move(keyed), List::Kind::kList);
}

Result Sort(RenderState& state, const Value& input, const Arguments& arguments) {
  LIQUID_ASSIGN_OR_RETURN(const auto bound,
                          Bind(arguments, {"reverse", "case_sensitive", "attribute"}));
  if (bound[2] != nullptr && bound[2]->is_text() &&
      bound[2]->bytes().find(',') != std::string::npos) {
    return absl::InvalidArgumentError("sorting by several attributes is not supported");
  }
  LIQUID_ASSIGN_OR_RETURN(const AttributePath path, AttributePath::Create(bound[2]));
  LIQUID_ASSIGN_OR_RETURN(const std::vector<Value> items, Items(state, input));
  std::vector<std::pair<Value, Value>> keyed;
  for (const Value& item : items) {
    LIQUID_ASSIGN_OR_RETURN(const Value key, path.Get(item));
    keyed.emplace_back(SortKey(key, TruthyOr(bound[1], false)), item);
  }
  LIQUID_RETURN_IF_ERROR(SortByKey(state, TruthyOr(bound[0], false), &keyed));
  return TakeValues(std::move(keyed), List::Kind::kList);
}

Result Unique(RenderState& state, const Value& input, const Arguments& arguments) {
  LIQUID_ASSIGN_OR_RETURN(const auto bound, Bind(arguments, {"case_sensitive", "attribute"}));
  LIQUID_ASSIGN_OR_RETURN(const AttributePath path, AttributePath::Create(bound[1]));
  LIQUID_ASSIGN_OR_RETURN(const std::vector<Value> items, Items(state, input));
  std::vector<std::pair<Value, Value>> kept;
  for (const Value& item : items) {
    LIQUID_ASSIGN_OR_RETURN(Value key, path.Get(item));
    key = SortKey(key, TruthyOr(bound[0], false));
    LIQUID_RETURN_IF_ERROR(state.Charge(static_cast<int64_t>(kept.size()) + key.num_nodes()));
    const bool seen = std::any_of(kept.begin(), kept.end(),
                                  [&](const auto& have) { return Equal(have.first, key); });
    if (!seen) kept.emplace_back(std::move(key), item);
  }
  return TakeValues(std::move(kept), List::Kind::kGenerator);
}

template <bool kLargest>
Result Extreme(RenderState& state, const Value& input, const Arguments& arguments) {
  LIQUID_ASSIGN_OR_RETURN(const auto bound, Bind(arguments, {"case_sensitive", "attribute"}));
  LIQUID_ASSIGN_OR_RETURN(const AttributePath path, AttributePath::Create(bound[1]));
  LIQUID_ASSIGN_OR_RETURN(const std::vector<Value> items, Items(state, input));
  Value best;
  Value best_key;
  for (size_t i = 0; i < items.size(); ++i) {
    LIQUID_ASSIGN_OR_RETURN(Value key, path.Get(items[i]));
    key = SortKey(key, TruthyOr(bound[0], false));
    bool better = i == 0;
    if (i > 0) {
      LIQUID_ASSIGN_OR_RETURN(better, kLargest ? Less(best_key, key) : Less(key, best_key));
    }
    if (!better) continue;
    best = items[i];
    best_key = std::move(key);
  }
  return best;
}

Result Sum(RenderState& state, const Value& input, const Arguments& arguments) {
  LIQUID_ASSIGN_OR_RETURN(const auto bound, Bind(arguments, {"attribute", "start"}));
  LIQUID_ASSIGN_OR_RETURN(const AttributePath path, AttributePath::Create(bound[0]));
  LIQUID_ASSIGN_OR_RETURN(const std::vector<Value> items, Items(state, input));
  Value total = bound[1] == nullptr ? Value::Int(0) : *bound[1];
  for (const Value& item : items) {
    LIQUID_ASSIGN_OR_RETURN(const Value value, path.Get(item));
    LIQUID_ASSIGN_OR_RETURN(total, ApplyBinary(state, BinaryOperator::kAdd, total, value));
  }
  return total;
}

// map("filter", arguments...) or map(attribute=..., default=...).
Result Map(RenderState& state, const Value& input, const Arguments& arguments) {
  LIQUID_ASSIGN_OR_RETURN(std::vector<Value> items, Items(state, input));
  if (arguments.positional.empty()) {
    LIQUID_ASSIGN_OR_RETURN(const auto bound, Bind(arguments, {"attribute", "default"}));
    if (bound[0] == nullptr) {
      return absl::InvalidArgumentError("map needs the name of a filter, or attribute=");
    }
    LIQUID_ASSIGN_OR_RETURN(const AttributePath path, AttributePath::Create(bound[0]));
    for (Value& item : items) {
      LIQUID_ASSIGN_OR_RETURN(item, path.Get(item, bound[1]));
    }
    return MakeList(std::move(items), List::Kind::kGenerator);
  }
  if (!arguments.positional[0].is_text()) {
    return absl::InvalidArgumentError("map needs the name of a filter");
  }
  const FilterFunction filter = FindFilter(arguments.positional[0].bytes());
  if (filter == nullptr) {
    return absl::InvalidArgumentError(
        Concat("the filter '", arguments.positional[0].bytes(), "' is not supported"));
  }
  Arguments rest = arguments;
  rest.positional.erase(rest.positional.begin());
  for (Value& item : items) {
    LIQUID_ASSIGN_OR_RETURN(item, filter(state, item, rest));
  }
  return MakeList(std::move(items), List::Kind::kGenerator);
}

// select, reject, selectattr, rejectattr: [attribute,] [test, its arguments...].
template <bool kKeep, bool kByAttribute>
Result Select(RenderState& state, const Value& input, const Arguments& arguments) {
  Arguments rest = arguments;
  AttributePath path;
  if (kByAttribute) {
    if (rest.positional.empty()) return absl::InvalidArgumentError("the attribute is missing");
    LIQUID_ASSIGN_OR_RETURN(path, AttributePath::Create(&arguments.positional[0]));
    rest.positional.erase(rest.positional.begin());
  }
  TestFunction test = nullptr;
  if (!rest.positional.empty()) {
    if (rest.positional[0].is_text()) test = FindTest(rest.positional[0].bytes());
    if (test == nullptr) return absl::InvalidArgumentError("there is no such test");
    rest.positional.erase(rest.positional.begin());
  }
  LIQUID_ASSIGN_OR_RETURN(const std::vector<Value> items, Items(state, input));
  std::vector<Value> kept;
  for (const Value& item : items) {
    LIQUID_ASSIGN_OR_RETURN(const Value value, path.Get(item));
    bool passed = value.truthy();
    if (test != nullptr) {
      LIQUID_ASSIGN_OR_RETURN(passed, test(state, value, rest));
    }
    if (passed == kKeep) kept.push_back(item);
  }
  return MakeList(std::move(kept), List::Kind::kGenerator);
}

Result Batch(RenderState& state, const Value& input, const Arguments& arguments) {
  LIQUID_ASSIGN_OR_RETURN(const auto bound, Bind(arguments, {"linecount", "fill_with"}));
  LIQUID_ASSIGN_OR_RETURN(const int64_t size, IntegerOr(bound[0], 0));
  if (size < 1 || size > kMaxValueNodes) {
    return absl::InvalidArgumentError("batch needs a positive size");
  }
  LIQUID_ASSIGN_OR_RETURN(const std::vector<Value> items, Items(state, input));
  std::vector<Value> batches;
  for (size_t begin = 0; begin < items.size(); begin += static_cast<size_t>(size)) {
    const size_t end = std::min(items.size(), begin + static_cast<size_t>(size));
    std::vector<Value> batch(items.begin() + static_cast<ptrdiff_t>(begin),
                             items.begin() + static_cast<ptrdiff_t>(end));
    if (bound[1] != nullptr && !bound[1]->is_none()) {
      LIQUID_RETURN_IF_ERROR(state.Charge(size));
      batch.resize(static_cast<size_t>(size), *bound[1]);
    }
    LIQUID_ASSIGN_OR_RETURN(Value list, MakeList(std::move(batch)));
    batches.push_back(std::move(list));
  }
  return MakeList(std::move(batches), List::Kind::kGenerator);
}

Result SliceFilter(RenderState& state, const Value& input, const Arguments& arguments) {
  LIQUID_ASSIGN_OR_RETURN(const auto bound, Bind(arguments, {"slices", "fill_with"}));
  LIQUID_ASSIGN_OR_RETURN(const int64_t num_slices, IntegerOr(bound[0], 0));
  if (num_slices < 1 || num_slices > kMaxValueNodes) {
    return absl::InvalidArgumentError("slice needs a positive number of slices");
  }
  LIQUID_RETURN_IF_ERROR(state.Charge(num_slices));
  LIQUID_ASSIGN_OR_RETURN(const std::vector<Value> items, Items(state, input));
  const size_t count = static_cast<size_t>(num_slices);
  const size_t longer = items.size() % count;  // so many slices have one item more
  std::vector<Value> slices;
  auto begin = items.begin();
  for (size_t i = 0; i < count; ++i) {
    const auto end = begin + static_cast<ptrdiff_t>(items.size() / count + (i < longer));
    std::vector<Value> slice(begin, end);
    if (bound[1] != nullptr && !bound[1]->is_none() && i >= longer) slice.push_back(*bound[1]);
    begin = end;
    LIQUID_ASSIGN_OR_RETURN(Value list, MakeList(std::move(slice)));
    slices.push_back(std::move(list));
  }
  return MakeList(std::move(slices), List::Kind::kGenerator);
}

Result Attr(RenderState&, const Value& input, const Arguments& arguments) {
  LIQUID_ASSIGN_OR_RETURN(const auto bound, Bind(arguments, {"name"}));
  if (bound[0] == nullptr || !bound[0]->is_text()) {
    return absl::InvalidArgumentError("attr needs a name");
  }
  // Attributes only: entries of dicts are items, not attributes.
  if (!input.is_object()) return Value();
  return input.object().Attribute(bound[0]->bytes()).value_or(Value());
}

struct NamedFilter {
  std::string_view name;
  FilterFunction filter;
};

constexpr NamedFilter kFilters[] = {
    {"attr", Attr},
    {"batch", Batch},
    {"count", Length},
    {"d", Default},
    {"default", Default},
    {"dictsort", DictSort},
    {"first", First},
    {"items", ItemsFilter},
    {"join", JoinFilter},
    {"last", Last},
    {"length", Length},
    {"list", ListFilter},
    {"map", Map},
    {"max", Extreme<true>},
    {"min", Extreme<false>},
    {"reject", Select<false, false>},
    {"rejectattr", Select<false, true>},
    {"reverse", Reverse},
    {"select", Select<true, false>},
    {"selectattr", Select<true, true>},
    {"slice", SliceFilter},
    {"sort", Sort},
    {"sum", Sum},
    {"unique", Unique},
};

}  // namespace

FilterFunction FindListFilter(std::string_view name) {
  for (const NamedFilter& each : kFilters) {
    if (each.name == name) return each.filter;
  }
  return nullptr;
}

}  // namespace liquid::jinja
