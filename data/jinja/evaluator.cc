// Statements, scopes and macros. Expressions are in evaluator_expressions.cc.
#include "data/jinja/evaluator.h"

#include <algorithm>
#include <optional>

#include "absl/strings/cord.h"
#include "base/status.h"
#include "data/concat.h"
#include "data/jinja/lexer.h"
#include "data/jinja/operators.h"
#include "data/jinja/print.h"

namespace liquid::jinja {
namespace {

constexpr char kPlacePayload[] = "liquid/jinja/place";
// A namespace or macro lives until the rendering ends: its price bounds how many there can be.
constexpr int64_t kLastingObjectSteps = 50;

using Kind = Statement::Kind;

// Puts back, at its end, the scope that was there at its beginning.
class ScopeRestorer {
 public:
  explicit ScopeRestorer(std::shared_ptr<Scope>* scope) : scope_(*scope), before_(*scope) {}
  ~ScopeRestorer() { scope_ = std::move(before_); }

 private:
  std::shared_ptr<Scope>& scope_;
  std::shared_ptr<Scope> before_;
};

}  // namespace

Evaluator::Evaluator(const Ast& ast, std::string_view source, std::string_view name,
                     RenderState& state)
    : ast_(ast),
      source_(source),
      name_(name),
      state_(state),
      loop_symbol_(FindSymbol("loop")),
      caller_symbol_(FindSymbol("caller")),
      varargs_symbol_(FindSymbol("varargs")),
      kwargs_symbol_(FindSymbol("kwargs")),
      scope_(std::make_shared<Scope>(ast.symbols.size())) {}

Evaluator::~Evaluator() {
  // Scopes hold macros that hold scopes; namespaces may hold anything, themselves included.
  scope_->Clear();
  for (const auto& each : namespaces_) each->Clear();
  for (const auto& macro : macros_) macro->scope()->Clear();
}

int Evaluator::FindSymbol(std::string_view name) const {
  const auto it = std::find(ast_.symbols.begin(), ast_.symbols.end(), name);
  return it == ast_.symbols.end() ? -1 : static_cast<int>(it - ast_.symbols.begin());
}

absl::Status Evaluator::At(size_t offset, const absl::Status& status) const {
  if (status.ok() || status.GetPayload(kPlacePayload).has_value()) return status;
  const absl::Status place = ErrorAt(source_, name_, offset, std::string(status.message()));
  absl::Status placed(status.code(), place.message());
  placed.SetPayload(kPlacePayload, absl::Cord());
  return placed;
}

Value Evaluator::MakeNamespaceFunction() {
  auto make = [this](RenderState&, const Arguments& arguments) -> absl::StatusOr<Value> {
    LIQUID_RETURN_IF_ERROR(state_.Charge(kLastingObjectSteps));
    auto made = std::make_shared<Namespace>();
    for (const Value& value : arguments.positional) {
      if (!value.is_dict()) return absl::InvalidArgumentError("namespace() takes a dict");
      for (const auto& [key, entry] : value.dict().entries) {
        if (key.is_text()) made->Set(key.bytes(), entry);
      }
    }
    for (const auto& [name, value] : arguments.named) made->Set(name, value);
    namespaces_.push_back(made);
    return Value::Of(std::shared_ptr<Object>(std::move(made)));
  };
  return Value::Of(
      std::shared_ptr<Object>(std::make_shared<Function>("namespace", std::move(make))));
}

absl::StatusOr<Text> Evaluator::Render(absl::Span<const std::pair<std::string, Value>> variables) {
  for (size_t symbol = 0; symbol < ast_.symbols.size(); ++symbol) {
    const std::string& name = ast_.symbols[symbol];
    const auto it = std::find_if(variables.begin(), variables.end(),
                                 [&](const auto& variable) { return variable.first == name; });
    if (it != variables.end()) {
      scope_->Set(static_cast<int>(symbol), it->second);
    } else if (name == "namespace") {
      scope_->Set(static_cast<int>(symbol), MakeNamespaceFunction());
    } else if (auto function = GlobalFunction(name)) {
      scope_->Set(static_cast<int>(symbol), *std::move(function));
    }
  }
  Text out;
  LIQUID_RETURN_IF_ERROR(RunBlock(ast_.body, &out).status());
  return out;
}

absl::StatusOr<Evaluator::Flow> Evaluator::RunBlock(const Block& block, Text* out) {
  for (const Statement& statement : block) {
    LIQUID_ASSIGN_OR_RETURN(const Flow flow, Run(statement, out));
    if (flow != Flow::kNext) return flow;
  }
  return Flow::kNext;
}

absl::StatusOr<Evaluator::Flow> Evaluator::RunInner(const Block& block, Text* out) {
  const ScopeRestorer restorer(&scope_);
  scope_ = std::make_shared<Scope>(scope_);
  return RunBlock(block, out);
}

absl::StatusOr<Evaluator::Flow> Evaluator::Run(const Statement& statement, Text* out) {
  LIQUID_RETURN_IF_ERROR(At(statement.offset, state_.Charge(1)));
  switch (statement.kind) {
    case Kind::kText:
      LIQUID_RETURN_IF_ERROR(Append(statement.text, statement.offset, out));
      return Flow::kNext;
    case Kind::kOutput: {
      LIQUID_ASSIGN_OR_RETURN(const Value value, Evaluate(*statement.value));
      LIQUID_RETURN_IF_ERROR(Append(value, statement.offset, out));
      return Flow::kNext;
    }
    case Kind::kIf:
      return RunIf(statement, out);
    case Kind::kFor: {
      LIQUID_ASSIGN_OR_RETURN(const Value items, Evaluate(*statement.value));
      return RunFor(statement, items, 0, out);
    }
    case Kind::kSet: {
      LIQUID_ASSIGN_OR_RETURN(const Value value, Evaluate(*statement.value));
      LIQUID_RETURN_IF_ERROR(Assign(statement.target, value, statement.offset));
      return Flow::kNext;
    }
    case Kind::kSetBlock:
      return RunSetBlock(statement);
    case Kind::kMacro:
      LIQUID_RETURN_IF_ERROR(At(statement.offset, state_.Charge(kLastingObjectSteps)));
      scope_->Set(statement.target.symbol, DefineMacro(statement));
      return Flow::kNext;
    case Kind::kCallBlock:
      LIQUID_RETURN_IF_ERROR(RunCallBlock(statement, out));
      return Flow::kNext;
    case Kind::kFilterBlock:
      return RunFilterBlock(statement, out);
    case Kind::kWith:
      return RunWith(statement, out);
    case Kind::kGeneration:
      LIQUID_RETURN_IF_ERROR(RunGeneration(statement, out));
      return Flow::kNext;
    case Kind::kBreak:
      return Flow::kBreak;
    case Kind::kContinue:
      return Flow::kContinue;
  }
  return Flow::kNext;
}

absl::Status Evaluator::Append(const Value& value, size_t offset, Text* out) {
  if (value.is_text()) {
    out->Append(value.text());
    return At(offset, state_.ChargeAppend(out->size(), value.text().size()));
  }
  absl::StatusOr<Text> text = ToText(state_, value);
  if (!text.ok()) return At(offset, text.status());
  out->Append(*text);
  return At(offset, state_.ChargeAppend(out->size(), text->size()));
}

absl::StatusOr<Evaluator::Flow> Evaluator::RunIf(const Statement& statement, Text* out) {
  for (size_t i = 0; i < statement.conditions.size(); ++i) {
    LIQUID_ASSIGN_OR_RETURN(const Value condition, Evaluate(*statement.conditions[i]));
    if (condition.truthy()) return RunBlock(statement.bodies[i], out);
  }
  if (statement.bodies.size() > statement.conditions.size()) {
    return RunBlock(statement.bodies.back(), out);
  }
  return Flow::kNext;
}

absl::StatusOr<std::vector<Value>> Evaluator::FilterItems(const Statement& statement,
                                                          std::vector<Value> items) {
  if (statement.conditions.empty()) return items;
  const ScopeRestorer restorer(&scope_);
  std::vector<Value> kept;
  const std::shared_ptr<Scope> outer = scope_;
  for (Value& item : items) {
    scope_ = std::make_shared<Scope>(outer);
    LIQUID_RETURN_IF_ERROR(Assign(statement.target, item, statement.offset));
    LIQUID_ASSIGN_OR_RETURN(const Value condition, Evaluate(*statement.conditions[0]));
    if (condition.truthy()) kept.push_back(std::move(item));
  }
  return kept;
}

absl::StatusOr<Evaluator::Flow> Evaluator::RunFor(const Statement& statement, const Value& items,
                                                  int level, Text* out) {
  absl::StatusOr<std::vector<Value>> walked = Items(state_, items);
  if (!walked.ok()) return At(statement.offset, walked.status());
  LIQUID_ASSIGN_OR_RETURN(std::vector<Value> kept, FilterItems(statement, *std::move(walked)));
  if (kept.empty()) return RunInner(statement.bodies[1], out);

  Loop::Recurse recurse;
  if (statement.recursive) {
    recurse = [this, &statement, level,
               scope = scope_](const Value& inner) mutable -> absl::StatusOr<Value> {
      if (depth_ >= state_.limits().max_depth) {
        return absl::ResourceExhaustedError("the loop recurses too deep");
      }
      const ScopeRestorer restorer(&scope_);
      scope_ = scope;
      ++depth_;
      Text text;
      const absl::Status status = RunFor(statement, inner, level + 1, &text).status();
      --depth_;
      if (!status.ok()) return status;
      return Value::Of(std::move(text));
    };
  }
  const auto loop = std::make_shared<Loop>(std::move(kept), level, std::move(recurse));
  const absl::Status status = RunIterations(statement, loop, out);
  loop->Finish();
  if (!status.ok()) return status;
  return Flow::kNext;
}

absl::Status Evaluator::RunIterations(const Statement& statement, const std::shared_ptr<Loop>& loop,
                                      Text* out) {
  const ScopeRestorer restorer(&scope_);
  const std::shared_ptr<Scope> outer = scope_;
  const Value loop_value = Value::Of(std::shared_ptr<Object>(loop));
  for (size_t i = 0; i < loop->items().size(); ++i) {
    LIQUID_RETURN_IF_ERROR(At(statement.offset, state_.Charge(1)));
    scope_ = std::make_shared<Scope>(outer);
    loop->MoveTo(i);
    if (loop_symbol_ >= 0) scope_->Set(loop_symbol_, loop_value);
    LIQUID_RETURN_IF_ERROR(Assign(statement.target, loop->items()[i], statement.offset));
    LIQUID_ASSIGN_OR_RETURN(const Flow flow, RunBlock(statement.bodies[0], out));
    if (flow == Flow::kBreak) break;
  }
  return absl::OkStatus();
}

absl::Status Evaluator::Assign(const Target& target, const Value& value, size_t offset) {
  if (!target.parts.empty()) {
    absl::StatusOr<std::vector<Value>> items = Items(state_, value);
    if (!items.ok()) return At(offset, items.status());
    if (items->size() != target.parts.size()) {
      return At(offset,
                absl::InvalidArgumentError(Concat("cannot unpack ", items->size(), " values into ",
                                                  target.parts.size(), " names")));
    }
    for (size_t i = 0; i < items->size(); ++i) {
      LIQUID_RETURN_IF_ERROR(Assign(target.parts[i], (*items)[i], offset));
    }
    return absl::OkStatus();
  }
  if (target.attribute.empty()) {
    scope_->Set(target.symbol, value);
    return absl::OkStatus();
  }
  const Value* object = scope_->Find(target.symbol);
  auto* made = object != nullptr && object->is_object()
                   ? dynamic_cast<Namespace*>(&object->object())
                   : nullptr;
  if (made == nullptr) {
    return At(offset,
              absl::InvalidArgumentError("cannot assign attribute on non-namespace object"));
  }
  made->Set(target.attribute, value);
  return absl::OkStatus();
}

absl::StatusOr<Evaluator::Flow> Evaluator::RunSetBlock(const Statement& statement) {
  Text text;
  LIQUID_ASSIGN_OR_RETURN(const Flow flow, RunInner(statement.bodies[0], &text));
  if (flow != Flow::kNext) return flow;
  Value value = Value::Of(std::move(text));
  if (statement.value != nullptr) {
    const Value input = value;
    const Value* before = std::exchange(filter_input_, &input);
    absl::StatusOr<Value> filtered = Evaluate(*statement.value);
    filter_input_ = before;
    if (!filtered.ok()) return filtered.status();
    value = *std::move(filtered);
  }
  LIQUID_RETURN_IF_ERROR(Assign(statement.target, value, statement.offset));
  return Flow::kNext;
}

absl::StatusOr<Evaluator::Flow> Evaluator::RunFilterBlock(const Statement& statement, Text* out) {
  Text text;
  LIQUID_ASSIGN_OR_RETURN(const Flow flow, RunInner(statement.bodies[0], &text));
  if (flow != Flow::kNext) return flow;
  const Value input = Value::Of(std::move(text));
  const Value* before = std::exchange(filter_input_, &input);
  const absl::StatusOr<Value> filtered = Evaluate(*statement.value);
  filter_input_ = before;
  if (!filtered.ok()) return filtered.status();
  LIQUID_RETURN_IF_ERROR(Append(*filtered, statement.offset, out));
  return Flow::kNext;
}

absl::StatusOr<Evaluator::Flow> Evaluator::RunWith(const Statement& statement, Text* out) {
  // The values see the outer scope only, not each other.
  std::vector<Value> values;
  for (const auto& [target, expression] : statement.assignments) {
    LIQUID_ASSIGN_OR_RETURN(Value value, Evaluate(*expression));
    values.push_back(std::move(value));
  }
  const ScopeRestorer restorer(&scope_);
  scope_ = std::make_shared<Scope>(scope_);
  for (size_t i = 0; i < values.size(); ++i) {
    LIQUID_RETURN_IF_ERROR(Assign(statement.assignments[i].first, values[i], statement.offset));
  }
  return RunBlock(statement.bodies[0], out);
}

absl::Status Evaluator::RunGeneration(const Statement& statement, Text* out) {
  const int32_t number = ++num_generations_;
  Text text;
  LIQUID_RETURN_IF_ERROR(RunInner(statement.bodies[0], &text).status());
  text.MarkGeneration(number);
  out->Append(text);
  return At(statement.offset, state_.ChargeAppend(out->size(), text.size()));
}

Value Evaluator::DefineMacro(const Statement& statement) {
  auto macro = std::make_shared<Macro>(this, &statement, scope_);
  macros_.push_back(macro);
  return Value::Of(std::shared_ptr<Object>(std::move(macro)));
}

absl::Status Evaluator::RunCallBlock(const Statement& statement, Text* out) {
  LIQUID_RETURN_IF_ERROR(At(statement.offset, state_.Charge(kLastingObjectSteps)));
  const Value caller = DefineMacro(statement);
  LIQUID_ASSIGN_OR_RETURN(const Value value, EvaluateCall(*statement.value, &caller));
  return Append(value, statement.offset, out);
}

std::optional<Value> Macro::Attribute(std::string_view name) const {
  if (name == "name") return statement_.text;
  return std::nullopt;
}

absl::Status Evaluator::BindParameters(const Statement& statement, const Arguments& arguments) {
  for (size_t i = 0; i < statement.parameters.size(); ++i) {
    const Parameter& parameter = statement.parameters[i];
    const Value* given = i < arguments.positional.size() ? &arguments.positional[i] : nullptr;
    for (const auto& [name, value] : arguments.named) {
      if (name != parameter.name) continue;
      if (given != nullptr) {
        return absl::InvalidArgumentError(Concat("the argument '", name, "' is given twice"));
      }
      given = &value;
    }
    Value value = given != nullptr ? *given : Value::Undefined(&parameter.name);
    if (given == nullptr && parameter.default_value != nullptr) {
      LIQUID_ASSIGN_OR_RETURN(value, Evaluate(*parameter.default_value));
    }
    scope_->Set(parameter.symbol, std::move(value));
  }
  return BindRest(statement, arguments);
}

absl::Status Evaluator::BindRest(const Statement& statement, const Arguments& arguments) {
  std::vector<Value> more;
  for (size_t i = statement.parameters.size(); i < arguments.positional.size(); ++i) {
    more.push_back(arguments.positional[i]);
  }
  if (!more.empty() && varargs_symbol_ < 0) {
    return absl::InvalidArgumentError(
        Concat("macro takes not more than ", statement.parameters.size(), " argument(s)"));
  }
  std::vector<std::pair<Value, Value>> named;
  for (const auto& [name, value] : arguments.named) {
    const bool bound = std::any_of(statement.parameters.begin(), statement.parameters.end(),
                                   [&, wanted = std::string_view(name)](const Parameter& each) {
                                     return each.name == wanted;
                                   });
    if (bound) continue;
    if (name == "caller" && caller_symbol_ >= 0) {
      scope_->Set(caller_symbol_, value);
    } else if (kwargs_symbol_ >= 0) {
      named.emplace_back(Value::Of(std::string_view(name)), value);
    } else {
      return absl::InvalidArgumentError(Concat("macro takes no argument '", name, "'"));
    }
  }
  if (varargs_symbol_ >= 0) {
    LIQUID_ASSIGN_OR_RETURN(Value tuple, MakeList(std::move(more), List::Kind::kTuple));
    scope_->Set(varargs_symbol_, std::move(tuple));
  }
  if (kwargs_symbol_ >= 0) {
    LIQUID_ASSIGN_OR_RETURN(Value dict, MakeDict(std::move(named)));
    scope_->Set(kwargs_symbol_, std::move(dict));
  }
  return absl::OkStatus();
}

absl::StatusOr<Value> Evaluator::CallMacro(const Macro& macro, const Arguments& arguments) {
  if (depth_ >= state_.limits().max_depth) {
    return absl::ResourceExhaustedError("macros call each other too deep");
  }
  const ScopeRestorer restorer(&scope_);
  scope_ = std::make_shared<Scope>(macro.scope());
  LIQUID_RETURN_IF_ERROR(BindParameters(macro.statement(), arguments));
  Text text;
  ++depth_;
  const absl::Status status = RunBlock(macro.statement().bodies[0], &text).status();
  --depth_;
  if (!status.ok()) return status;
  return Value::Of(std::move(text));
}

}  // namespace liquid::jinja
