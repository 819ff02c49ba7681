// Walks a parsed template and writes the output, with Jinja's rules of scope.
#ifndef LIQUID_DATA_JINJA_EVALUATOR_H_
#define LIQUID_DATA_JINJA_EVALUATOR_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "data/jinja/ast.h"
#include "data/jinja/objects.h"
#include "data/jinja/render_state.h"
#include "data/jinja/scope.h"
#include "data/jinja/text.h"
#include "data/jinja/value.h"

namespace liquid::jinja {

class Macro;

// One rendering. Errors say "name:line:column: what".
class Evaluator {
 public:
  // All must outlive the evaluator. `source` is what `ast` was parsed from.
  Evaluator(const Ast& ast, std::string_view source, std::string_view name, RenderState& state);
  ~Evaluator();

  absl::StatusOr<Text> Render(absl::Span<const std::pair<std::string, Value>> variables);

  // Of a macro or a call block's caller, by its own object.
  absl::StatusOr<Value> CallMacro(const Macro& macro, const Arguments& arguments);

 private:
  // How a block ended.
  enum class Flow { kNext, kBreak, kContinue };

  absl::StatusOr<Flow> RunBlock(const Block& block, Text* out);
  absl::StatusOr<Flow> Run(const Statement& statement, Text* out);
  absl::StatusOr<Flow> RunIf(const Statement& statement, Text* out);
  absl::StatusOr<Flow> RunSetBlock(const Statement& statement);
  absl::StatusOr<Flow> RunFilterBlock(const Statement& statement, Text* out);
  absl::StatusOr<Flow> RunWith(const Statement& statement, Text* out);
  absl::Status RunGeneration(const Statement& statement, Text* out);
  absl::Status RunCallBlock(const Statement& statement, Text* out);
  absl::StatusOr<Flow> RunInner(const Block& block, Text* out);  // in a scope of its own
  absl::StatusOr<Flow> RunFor(const Statement& statement, const Value& items, int level, Text* out);
  absl::Status RunIterations(const Statement& statement, const std::shared_ptr<Loop>& loop,
                             Text* out);
  absl::StatusOr<std::vector<Value>> FilterItems(const Statement& statement,
                                                 std::vector<Value> items);
  absl::Status Assign(const Target& target, const Value& value, size_t offset);
  absl::Status Append(const Value& value, size_t offset, Text* out);
  Value DefineMacro(const Statement& statement);
  absl::Status BindParameters(const Statement& statement, const Arguments& arguments);
  absl::Status BindRest(const Statement& statement, const Arguments& arguments);

  absl::StatusOr<Value> Evaluate(const Expression& expression);
  absl::StatusOr<Value> EvaluateKind(const Expression& expression);
  absl::StatusOr<Value> EvaluateContainer(const Expression& expression);
  absl::StatusOr<Value> EvaluateAttribute(const Expression& expression);
  absl::StatusOr<Value> EvaluateSubscript(const Expression& expression);
  absl::StatusOr<Value> EvaluateSlice(const Expression& expression);
  absl::StatusOr<Value> EvaluateCall(const Expression& expression, const Value* caller);
  absl::StatusOr<Value> EvaluateFilter(const Expression& expression);
  absl::StatusOr<Value> EvaluateTest(const Expression& expression);
  absl::StatusOr<Value> EvaluateCompare(const Expression& expression);
  absl::StatusOr<Value> EvaluateConcatenation(const Expression& expression);
  absl::StatusOr<Value> EvaluateBinary(const Expression& expression);
  absl::StatusOr<Arguments> EvaluateArguments(const Expression& expression);
  // object.name(arguments), without making a value of the method first.
  absl::StatusOr<Value> CallAttribute(const Expression& attribute, const Value& object,
                                      const Arguments& arguments);
  absl::StatusOr<Value> Member(const Value& object, const std::string& name, size_t offset);

  // `status` with the place put before it, unless it has one already.
  absl::Status At(size_t offset, const absl::Status& status) const;
  int FindSymbol(std::string_view name) const;  // -1: the template does not use it
  Value MakeNamespaceFunction();

  const Ast& ast_;
  const std::string_view source_;
  const std::string_view name_;
  RenderState& state_;
  const int loop_symbol_;
  const int caller_symbol_;
  const int varargs_symbol_;
  const int kwargs_symbol_;

  std::shared_ptr<Scope> scope_;
  int depth_ = 0;
  int32_t num_generations_ = 0;
  const Value* filter_input_ = nullptr;  // of the filter or set block being finished
  // What may hold itself, to be cleared in the end.
  std::vector<std::shared_ptr<Namespace>> namespaces_;
  std::vector<std::shared_ptr<Macro>> macros_;
};

// A macro, or the body of a call block.
class Macro final : public Object {
 public:
  Macro(Evaluator* evaluator, const Statement* statement, std::shared_ptr<Scope> scope)
      : evaluator_(*evaluator), statement_(*statement), scope_(std::move(scope)) {}

  std::string_view type_name() const override { return "Macro"; }
  bool callable() const override { return true; }
  std::optional<Value> Attribute(std::string_view name) const override;
  absl::StatusOr<Value> Call(RenderState&, const Arguments& arguments) override {
    return evaluator_.CallMacro(*this, arguments);
  }

  const Statement& statement() const { return statement_; }
  const std::shared_ptr<Scope>& scope() const { return scope_; }  // where it was defined

 private:
  Evaluator& evaluator_;
  const Statement& statement_;
  const std::shared_ptr<Scope> scope_;
};

}  // namespace liquid::jinja

#endif  // LIQUID_DATA_JINJA_EVALUATOR_H_
