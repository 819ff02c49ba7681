// Parses Jinja's expressions, with Jinja's precedences. Filters and tests that do not exist are
// refused here, before anything is rendered.
#ifndef LIQUID_DATA_JINJA_EXPRESSION_PARSER_H_
#define LIQUID_DATA_JINJA_EXPRESSION_PARSER_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "data/jinja/ast.h"
#include "data/jinja/token_stream.h"

namespace liquid::jinja {

class ExpressionParser {
 public:
  // Both must outlive the parser.
  ExpressionParser(TokenStream* tokens, SymbolTable* symbols)
      : tokens_(*tokens), symbols_(*symbols) {}

  // One expression.
  absl::StatusOr<ExpressionPtr> Parse();
  // One expression without an inline if, which would take the `if` of a for.
  absl::StatusOr<ExpressionPtr> ParseOr();
  // One expression, or several with commas: a tuple. `stop`: a name that ends it.
  absl::StatusOr<ExpressionPtr> ParseTuple(bool with_conditional, std::string_view stop);
  // name(arguments)|name(arguments)... behind a "|" or a {% filter %}; `input` may be null.
  absl::StatusOr<ExpressionPtr> ParseFilters(ExpressionPtr input, bool first_has_bar);

 private:
  using Result = absl::StatusOr<ExpressionPtr>;

  Result ParseAnd();
  Result ParseNot();
  Result ParseCompare();
  Result ParseSum();
  Result ParseConcatenation();
  Result ParseProduct();
  Result ParsePower();
  Result ParseUnary(bool with_filters);
  Result ParsePrimary();
  Result ParsePostfix(ExpressionPtr value);
  Result ParseFilter(ExpressionPtr value);
  Result ParseTest(ExpressionPtr value);
  Result ParseSubscript(ExpressionPtr value);
  Result ParseCall(ExpressionPtr value);
  Result ParseParentheses();
  Result ParseListDisplay();
  Result ParseDictDisplay();
  absl::Status ParseArguments(std::vector<Expression::Argument>* arguments);
  absl::StatusOr<Comparison> ParseComparison(bool* found);

  ExpressionPtr Make(Expression::Kind kind, size_t offset) const;
  // Sets the height; refuses trees that are too high to be walked safely.
  Result Finish(ExpressionPtr expression) const;
  Result FinishBinary(BinaryOperator op, size_t offset, ExpressionPtr left,
                      ExpressionPtr right) const;

  TokenStream& tokens_;
  SymbolTable& symbols_;
  int depth_ = 0;
};

}  // namespace liquid::jinja

#endif  // LIQUID_DATA_JINJA_EXPRESSION_PARSER_H_
