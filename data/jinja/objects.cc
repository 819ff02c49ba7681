#include "data/jinja/objects.h"

#include <algorithm>
#include <memory>

#include "base/status.h"
#include "data/concat.h"
#include "data/jinja/arguments.h"
#include "data/jinja/methods.h"
#include "data/jinja/operators.h"
#include "data/jinja/print.h"
#include "data/jinja/strftime.h"

namespace liquid::jinja {
namespace {

constexpr int64_t kMaxRange = 100'000;  // as the sandbox's MAX_RANGE

absl::StatusOr<Value> Range(RenderState& state, const Arguments& arguments) {
  LIQUID_ASSIGN_OR_RETURN(const auto bound, Bind(arguments, {"start", "stop", "step"}));
  if (bound[0] == nullptr || bound[0]->is_none()) {
    return absl::InvalidArgumentError("range() needs an integer");
  }
  LIQUID_ASSIGN_OR_RETURN(int64_t start, IntegerOr(bound[0], 0));
  LIQUID_ASSIGN_OR_RETURN(int64_t stop, IntegerOr(bound[1], 0));
  LIQUID_ASSIGN_OR_RETURN(const int64_t step, IntegerOr(bound[2], 1));
  if (bound[1] == nullptr) stop = std::exchange(start, 0);
  if (step == 0) return absl::InvalidArgumentError("range() arg 3 must not be zero");
  std::vector<Value> items;
  // In 128 bits, so that no start, stop and step can overflow.
  for (__int128 i = start; step > 0 ? i < stop : i > stop; i += step) {
    if (static_cast<int64_t>(items.size()) >= kMaxRange) {
      return absl::InvalidArgumentError(Concat("range() of more than ", kMaxRange, " items"));
    }
    items.push_back(Value::Int(static_cast<int64_t>(i)));
  }
  LIQUID_RETURN_IF_ERROR(state.Charge(static_cast<int64_t>(items.size())));
  return MakeList(std::move(items), List::Kind::kRange);
}

absl::StatusOr<Value> MakeDictFromCall(RenderState&, const Arguments& arguments) {
  std::vector<std::pair<Value, Value>> entries;
  if (arguments.positional.size() > 1 ||
      (arguments.positional.size() == 1 && !arguments.positional[0].is_dict())) {
    return absl::InvalidArgumentError("dict() takes one dict and named arguments");
  }
  if (!arguments.positional.empty()) entries = arguments.positional[0].dict().entries;
  for (const auto& [name, value] : arguments.named) {
    entries.emplace_back(Value::Of(std::string_view(name)), value);
  }
  return MakeDict(std::move(entries));
}

absl::StatusOr<Value> RaiseException(RenderState& state, const Arguments& arguments) {
  LIQUID_ASSIGN_OR_RETURN(const auto bound, Bind(arguments, {"message"}));
  LIQUID_ASSIGN_OR_RETURN(const Text message,
                          bound[0] == nullptr ? Text() : ToText(state, *bound[0]));
  return absl::InvalidArgumentError(
      Concat("the chat template refuses this conversation: ", message.bytes()));
}

absl::StatusOr<Value> StrftimeNow(RenderState& state, const Arguments& arguments) {
  LIQUID_ASSIGN_OR_RETURN(const auto bound, Bind(arguments, {"format"}));
  if (bound[0] == nullptr || !bound[0]->is_text()) {
    return absl::InvalidArgumentError("strftime_now() needs a format");
  }
  LIQUID_ASSIGN_OR_RETURN(const std::string text, FormatTime(state.now(), bound[0]->bytes()));
  return Value::Of(std::string_view(text));
}

}  // namespace

std::optional<Value> Namespace::Attribute(std::string_view name) const {
  const auto it = attributes_.find(name);
  return it == attributes_.end() ? std::nullopt : std::optional<Value>(it->second);
}

Loop::Loop(std::vector<Value> items, int level, Recurse recurse)
    : items_(std::move(items)), level_(level), recurse_(std::move(recurse)) {
  for (const Value& item : items_) depth_ = std::max(depth_, item.depth() + 1);
}

std::optional<Value> Loop::Attribute(std::string_view name) const {
  const auto index = static_cast<int64_t>(index_);
  const auto length = static_cast<int64_t>(items_.size());
  if (name == "index") return Value::Int(index + 1);
  if (name == "index0") return Value::Int(index);
  if (name == "revindex") return Value::Int(length - index);
  if (name == "revindex0") return Value::Int(length - index - 1);
  if (name == "first") return Value::Bool(index == 0);
  if (name == "last") return Value::Bool(index + 1 == length);
  if (name == "length") return Value::Int(length);
  if (name == "depth") return Value::Int(level_ + 1);
  if (name == "depth0") return Value::Int(level_);
  if (name == "previtem") return index == 0 ? Value() : items_[index_ - 1];
  if (name == "nextitem") return index + 1 >= length ? Value() : items_[index_ + 1];
  return std::nullopt;
}

absl::StatusOr<Value> Loop::Call(RenderState&, const Arguments& arguments) {
  LIQUID_ASSIGN_OR_RETURN(const auto bound, Bind(arguments, {"iterable"}));
  if (bound[0] == nullptr) return absl::InvalidArgumentError("loop() needs something to walk over");
  if (recurse_ == nullptr) {
    return absl::InvalidArgumentError("loop() can be called in a recursive for only");
  }
  return recurse_(*bound[0]);
}

absl::StatusOr<Value> Loop::Cycle(const Arguments& arguments) const {
  const std::vector<Value>& values = arguments.positional;
  if (values.empty()) return absl::InvalidArgumentError("no items for cycling given");
  return values[index_ % values.size()];
}

Value Loop::Changed(const Arguments& arguments) {
  const std::vector<Value>& values = arguments.positional;
  const bool same =
      last_changed_.has_value() &&
      std::equal(values.begin(), values.end(), last_changed_->begin(), last_changed_->end(), Equal);
  if (!same) last_changed_ = values;
  return Value::Bool(!same);
}

Value BindMethod(const Value& object, std::string_view name) {
  auto call = [object, name = std::string(name)](RenderState& state, const Arguments& arguments) {
    return CallMethod(state, object, name, arguments);
  };
  return Value::Of(std::shared_ptr<Object>(
      std::make_shared<Function>(std::string(name), std::move(call), object.depth() + 1)));
}

std::optional<Value> GlobalFunction(std::string_view name) {
  constexpr std::pair<std::string_view, absl::StatusOr<Value> (*)(RenderState&, const Arguments&)>
      kFunctions[] = {
          {"range", Range},
          {"dict", MakeDictFromCall},
          {"raise_exception", RaiseException},
          {"strftime_now", StrftimeNow},
      };
  for (const auto& [known, function] : kFunctions) {
    if (known == name) {
      return Value::Of(
          std::shared_ptr<Object>(std::make_shared<Function>(std::string(name), function)));
    }
  }
  return std::nullopt;
}

}  // namespace liquid::jinja
