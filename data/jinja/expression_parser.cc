#include "data/jinja/expression_parser.h"

#include <algorithm>
#include <utility>

#include "base/status.h"
#include "data/concat.h"

namespace liquid::jinja {
namespace {

using Kind = Expression::Kind;
using TokenKind = Token::Kind;

constexpr int kMaxHeight = 200;

}  // namespace

ExpressionPtr ExpressionParser::Make(Kind kind, size_t offset) const {
  auto expression = std::make_unique<Expression>();
  expression->kind = kind;
  expression->offset = offset;
  return expression;
}

absl::StatusOr<ExpressionPtr> ExpressionParser::Finish(ExpressionPtr expression) const {
  for (const ExpressionPtr& child : expression->children) {
    if (child != nullptr) expression->height = std::max(expression->height, child->height + 1);
  }
  for (const Expression::Argument& argument : expression->arguments) {
    expression->height = std::max(expression->height, argument.value->height + 1);
  }
  if (expression->height > kMaxHeight) {
    return tokens_.Error(expression->offset, "the expression is nested too deep");
  }
  return expression;
}

absl::StatusOr<ExpressionPtr> ExpressionParser::FinishBinary(BinaryOperator op, size_t offset,
                                                             ExpressionPtr left,
                                                             ExpressionPtr right) const {
  ExpressionPtr both = Make(Kind::kBinary, offset);
  both->binary = op;
  both->children.push_back(std::move(left));
  both->children.push_back(std::move(right));
  return Finish(std::move(both));
}

absl::StatusOr<ExpressionPtr> ExpressionParser::Parse() {
  LIQUID_ASSIGN_OR_RETURN(ExpressionPtr value, ParseOr());
  while (tokens_.IsName("if")) {
    ExpressionPtr conditional = Make(Kind::kConditional, tokens_.Take().offset);
    LIQUID_ASSIGN_OR_RETURN(ExpressionPtr condition, ParseOr());
    ExpressionPtr otherwise;
    if (tokens_.SkipName("else")) {
      if (++depth_ > kMaxHeight) return tokens_.Unexpected("a simpler expression");
      LIQUID_ASSIGN_OR_RETURN(otherwise, Parse());
      --depth_;
    }
    conditional->children.push_back(std::move(condition));
    conditional->children.push_back(std::move(value));
    conditional->children.push_back(std::move(otherwise));
    LIQUID_ASSIGN_OR_RETURN(value, Finish(std::move(conditional)));
  }
  return value;
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseOr() {
  LIQUID_ASSIGN_OR_RETURN(ExpressionPtr value, ParseAnd());
  while (tokens_.IsName("or")) {
    ExpressionPtr both = Make(Kind::kOr, tokens_.Take().offset);
    LIQUID_ASSIGN_OR_RETURN(ExpressionPtr right, ParseAnd());
    both->children.push_back(std::move(value));
    both->children.push_back(std::move(right));
    LIQUID_ASSIGN_OR_RETURN(value, Finish(std::move(both)));
  }
  return value;
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseAnd() {
  LIQUID_ASSIGN_OR_RETURN(ExpressionPtr value, ParseNot());
  while (tokens_.IsName("and")) {
    ExpressionPtr both = Make(Kind::kAnd, tokens_.Take().offset);
    LIQUID_ASSIGN_OR_RETURN(ExpressionPtr right, ParseNot());
    both->children.push_back(std::move(value));
    both->children.push_back(std::move(right));
    LIQUID_ASSIGN_OR_RETURN(value, Finish(std::move(both)));
  }
  return value;
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseNot() {
  if (!tokens_.IsName("not")) return ParseCompare();
  ExpressionPtr negation = Make(Kind::kNot, tokens_.Take().offset);
  if (++depth_ > kMaxHeight) return tokens_.Unexpected("a simpler expression");
  LIQUID_ASSIGN_OR_RETURN(ExpressionPtr value, ParseNot());
  --depth_;
  negation->children.push_back(std::move(value));
  return Finish(std::move(negation));
}

absl::StatusOr<Comparison> ExpressionParser::ParseComparison(bool* found) {
  constexpr std::pair<std::string_view, Comparison> kComparisons[] = {
      {"==", Comparison::kEqual},  {"!=", Comparison::kNotEqual},
      {"<", Comparison::kLess},    {"<=", Comparison::kLessEqual},
      {">", Comparison::kGreater}, {">=", Comparison::kGreaterEqual},
  };
  *found = true;
  for (const auto& [op, comparison] : kComparisons) {
    if (tokens_.SkipOperator(op)) return comparison;
  }
  if (tokens_.SkipName("in")) return Comparison::kIn;
  if (tokens_.IsName("not") && tokens_.next().kind == TokenKind::kName &&
      tokens_.next().text == "in") {
    tokens_.Take();
    tokens_.Take();
    return Comparison::kNotIn;
  }
  *found = false;
  return Comparison::kEqual;
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseCompare() {
  LIQUID_ASSIGN_OR_RETURN(ExpressionPtr value, ParseSum());
  ExpressionPtr compare = Make(Kind::kCompare, tokens_.current().offset);
  while (true) {
    bool found = false;
    LIQUID_ASSIGN_OR_RETURN(const Comparison comparison, ParseComparison(&found));
    if (!found) break;
    LIQUID_ASSIGN_OR_RETURN(ExpressionPtr right, ParseSum());
    compare->comparisons.push_back(comparison);
    if (value != nullptr) compare->children.push_back(std::move(value));
    compare->children.push_back(std::move(right));
  }
  if (compare->comparisons.empty()) return value;
  return Finish(std::move(compare));
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseSum() {
  LIQUID_ASSIGN_OR_RETURN(ExpressionPtr value, ParseConcatenation());
  while (tokens_.IsOperator("+") || tokens_.IsOperator("-")) {
    const Token op = tokens_.Take();
    LIQUID_ASSIGN_OR_RETURN(ExpressionPtr right, ParseConcatenation());
    LIQUID_ASSIGN_OR_RETURN(
        value, FinishBinary(op.text == "+" ? BinaryOperator::kAdd : BinaryOperator::kSub, op.offset,
                            std::move(value), std::move(right)));
  }
  return value;
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseConcatenation() {
  LIQUID_ASSIGN_OR_RETURN(ExpressionPtr value, ParseProduct());
  if (!tokens_.IsOperator("~")) return value;
  ExpressionPtr all = Make(Kind::kConcatenate, tokens_.current().offset);
  all->children.push_back(std::move(value));
  while (tokens_.SkipOperator("~")) {
    LIQUID_ASSIGN_OR_RETURN(ExpressionPtr next, ParseProduct());
    all->children.push_back(std::move(next));
  }
  return Finish(std::move(all));
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseProduct() {
  constexpr std::pair<std::string_view, BinaryOperator> kProducts[] = {
      {"*", BinaryOperator::kMul},
      {"/", BinaryOperator::kDiv},
      {"//", BinaryOperator::kFloorDiv},
      {"%", BinaryOperator::kMod},
  };
  LIQUID_ASSIGN_OR_RETURN(ExpressionPtr value, ParsePower());
  for (bool found = true; found;) {
    found = false;
    for (const auto& [op, binary] : kProducts) {
      if (!tokens_.IsOperator(op)) continue;
      const size_t offset = tokens_.Take().offset;
      LIQUID_ASSIGN_OR_RETURN(ExpressionPtr right, ParsePower());
      LIQUID_ASSIGN_OR_RETURN(value,
                              FinishBinary(binary, offset, std::move(value), std::move(right)));
      found = true;
      break;
    }
  }
  return value;
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParsePower() {
  LIQUID_ASSIGN_OR_RETURN(ExpressionPtr value, ParseUnary(true));
  while (tokens_.IsOperator("**")) {
    const size_t offset = tokens_.Take().offset;
    LIQUID_ASSIGN_OR_RETURN(ExpressionPtr right, ParseUnary(true));
    LIQUID_ASSIGN_OR_RETURN(
        value, FinishBinary(BinaryOperator::kPow, offset, std::move(value), std::move(right)));
  }
  return value;
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseUnary(bool with_filters) {
  // Every cycle of the grammar passes here: what bounds the recursion of the parser itself.
  if (++depth_ > kMaxHeight) return tokens_.Unexpected("a simpler expression");
  ExpressionPtr value;
  if (tokens_.IsOperator("-") || tokens_.IsOperator("+")) {
    const Token sign = tokens_.Take();
    value = Make(sign.text == "-" ? Kind::kNegative : Kind::kPositive, sign.offset);
    LIQUID_ASSIGN_OR_RETURN(ExpressionPtr operand, ParseUnary(false));
    value->children.push_back(std::move(operand));
    LIQUID_ASSIGN_OR_RETURN(value, Finish(std::move(value)));
  } else {
    LIQUID_ASSIGN_OR_RETURN(value, ParsePrimary());
  }
  LIQUID_ASSIGN_OR_RETURN(value, ParsePostfix(std::move(value)));
  while (with_filters) {
    if (tokens_.SkipOperator("|")) {
      LIQUID_ASSIGN_OR_RETURN(value, ParseFilter(std::move(value)));
    } else if (tokens_.IsName("is")) {
      LIQUID_ASSIGN_OR_RETURN(value, ParseTest(std::move(value)));
    } else if (tokens_.IsOperator("(")) {
      LIQUID_ASSIGN_OR_RETURN(value, ParseCall(std::move(value)));
    } else {
      break;
    }
  }
  --depth_;
  return value;
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParsePrimary() {
  const Token& token = tokens_.current();
  if (tokens_.IsOperator("(")) return ParseParentheses();
  if (tokens_.IsOperator("[")) return ParseListDisplay();
  if (tokens_.IsOperator("{")) return ParseDictDisplay();
  ExpressionPtr value = Make(Kind::kConstant, token.offset);
  if (token.kind == TokenKind::kInteger) {
    value->constant = Value::Int(tokens_.Take().integer);
  } else if (token.kind == TokenKind::kFloat) {
    value->constant = Value::Float(tokens_.Take().real);
  } else if (token.kind == TokenKind::kString) {
    std::string text;
    while (tokens_.IsKind(TokenKind::kString)) text += tokens_.Take().text;
    value->constant = Value::Of(text);
  } else if (token.kind == TokenKind::kName) {
    const std::string name = tokens_.Take().text;
    if (name == "true" || name == "True" || name == "false" || name == "False") {
      value->constant = Value::Bool(name == "true" || name == "True");
    } else if (name == "none" || name == "None") {
      value->constant = Value::None();
    } else {
      value->kind = Kind::kName;
      value->name = name;
      value->symbol = symbols_.Intern(name);
    }
  } else {
    return tokens_.Unexpected("an expression");
  }
  return value;
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseTuple(bool with_conditional,
                                                           std::string_view stop) {
  ExpressionPtr tuple = Make(Kind::kTuple, tokens_.current().offset);
  bool is_tuple = false;
  while (true) {
    const bool at_end = tokens_.IsKind(TokenKind::kVariableEnd) ||
                        tokens_.IsKind(TokenKind::kBlockEnd) || tokens_.IsOperator(")") ||
                        (!stop.empty() && tokens_.IsName(stop));
    if (at_end) break;
    LIQUID_ASSIGN_OR_RETURN(ExpressionPtr item, with_conditional ? Parse() : ParseOr());
    tuple->children.push_back(std::move(item));
    if (!tokens_.SkipOperator(",")) break;
    is_tuple = true;
  }
  if (is_tuple) return Finish(std::move(tuple));
  if (tuple->children.empty()) return tokens_.Unexpected("an expression");
  return std::move(tuple->children[0]);
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseParentheses() {
  const size_t offset = tokens_.Take().offset;
  if (tokens_.SkipOperator(")")) return Make(Kind::kTuple, offset);
  LIQUID_ASSIGN_OR_RETURN(ExpressionPtr value, ParseTuple(true, ""));
  LIQUID_RETURN_IF_ERROR(tokens_.ExpectOperator(")"));
  return value;
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseListDisplay() {
  ExpressionPtr list = Make(Kind::kList, tokens_.Take().offset);
  while (!tokens_.IsOperator("]")) {
    LIQUID_ASSIGN_OR_RETURN(ExpressionPtr item, Parse());
    list->children.push_back(std::move(item));
    if (!tokens_.SkipOperator(",")) break;
  }
  LIQUID_RETURN_IF_ERROR(tokens_.ExpectOperator("]"));
  return Finish(std::move(list));
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseDictDisplay() {
  ExpressionPtr dict = Make(Kind::kDict, tokens_.Take().offset);
  while (!tokens_.IsOperator("}")) {
    LIQUID_ASSIGN_OR_RETURN(ExpressionPtr key, Parse());
    LIQUID_RETURN_IF_ERROR(tokens_.ExpectOperator(":"));
    LIQUID_ASSIGN_OR_RETURN(ExpressionPtr value, Parse());
    dict->children.push_back(std::move(key));
    dict->children.push_back(std::move(value));
    if (!tokens_.SkipOperator(",")) break;
  }
  LIQUID_RETURN_IF_ERROR(tokens_.ExpectOperator("}"));
  return Finish(std::move(dict));
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParsePostfix(ExpressionPtr value) {
  while (true) {
    if (tokens_.IsOperator(".") || tokens_.IsOperator("[")) {
      LIQUID_ASSIGN_OR_RETURN(value, ParseSubscript(std::move(value)));
    } else if (tokens_.IsOperator("(")) {
      LIQUID_ASSIGN_OR_RETURN(value, ParseCall(std::move(value)));
    } else {
      return value;
    }
  }
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseSubscript(ExpressionPtr value) {
  const Token open = tokens_.Take();
  ExpressionPtr subscript = Make(Kind::kSubscript, open.offset);
  subscript->children.push_back(std::move(value));
  if (open.text == ".") {
    if (tokens_.IsKind(TokenKind::kName)) {
      subscript->kind = Kind::kAttribute;
      subscript->name = tokens_.Take().text;
    } else if (tokens_.IsKind(TokenKind::kInteger)) {
      ExpressionPtr index = Make(Kind::kConstant, open.offset);
      index->constant = Value::Int(tokens_.Take().integer);
      subscript->children.push_back(std::move(index));
    } else {
      return tokens_.Unexpected("a name or number after '.'");
    }
    return Finish(std::move(subscript));
  }
  std::vector<ExpressionPtr> parts;
  ExpressionPtr part;
  bool is_slice = false;
  while (true) {
    if (tokens_.SkipOperator(":")) {
      is_slice = true;
      parts.push_back(std::move(part));
    } else if (tokens_.IsOperator("]") || part != nullptr) {
      break;
    } else {
      LIQUID_ASSIGN_OR_RETURN(part, Parse());
    }
  }
  if (tokens_.IsOperator(",")) {
    return tokens_.Error(tokens_.current().offset, "subscripts with commas are not supported");
  }
  parts.push_back(std::move(part));
  LIQUID_RETURN_IF_ERROR(tokens_.ExpectOperator("]"));
  if (parts.size() > 3 || (!is_slice && parts[0] == nullptr)) {
    return tokens_.Error(open.offset, "not a valid subscript");
  }
  if (is_slice) {
    subscript->kind = Kind::kSlice;
    parts.resize(3);
  }
  for (ExpressionPtr& each : parts) subscript->children.push_back(std::move(each));
  return Finish(std::move(subscript));
}

absl::Status ExpressionParser::ParseArguments(std::vector<Expression::Argument>* arguments) {
  using ArgumentKind = Expression::Argument::Kind;
  LIQUID_RETURN_IF_ERROR(tokens_.ExpectOperator("("));
  bool named_seen = false;
  while (!tokens_.IsOperator(")")) {
    Expression::Argument argument;
    if (tokens_.SkipOperator("*")) {
      argument.kind = ArgumentKind::kUnpackList;
    } else if (tokens_.SkipOperator("**")) {
      argument.kind = ArgumentKind::kUnpackDict;
    } else if (tokens_.IsKind(TokenKind::kName) && tokens_.next().kind == TokenKind::kOperator &&
               tokens_.next().text == "=") {
      argument.kind = ArgumentKind::kNamed;
      argument.name = tokens_.Take().text;
      tokens_.Take();
    }
    if (argument.kind == ArgumentKind::kPositional && named_seen) {
      return tokens_.Unexpected("a named argument");
    }
    named_seen |= argument.kind == ArgumentKind::kNamed;
    LIQUID_ASSIGN_OR_RETURN(argument.value, Parse());
    arguments->push_back(std::move(argument));
    if (!tokens_.SkipOperator(",")) break;
  }
  return tokens_.ExpectOperator(")");
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseCall(ExpressionPtr value) {
  ExpressionPtr call = Make(Kind::kCall, tokens_.current().offset);
  if (value->kind == Kind::kName) {
    call->offset = value->offset;
    for (const std::string_view missing : {"lipsum", "cycler", "joiner"}) {
      if (value->name == missing) {
        return tokens_.Error(value->offset, Concat(missing, "() is not supported"));
      }
    }
  }
  call->children.push_back(std::move(value));
  LIQUID_RETURN_IF_ERROR(ParseArguments(&call->arguments));
  return Finish(std::move(call));
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseFilter(ExpressionPtr value) {
  ExpressionPtr filter = Make(Kind::kFilter, tokens_.current().offset);
  if (!tokens_.IsKind(TokenKind::kName)) return tokens_.Unexpected("the name of a filter");
  filter->name = tokens_.Take().text;
  filter->filter = FindFilter(filter->name);
  if (filter->filter == nullptr) {
    return tokens_.Error(filter->offset,
                         Concat("the filter '", filter->name, "' is not supported"));
  }
  filter->children.push_back(std::move(value));
  if (tokens_.IsOperator("(")) LIQUID_RETURN_IF_ERROR(ParseArguments(&filter->arguments));
  return Finish(std::move(filter));
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseFilters(ExpressionPtr input,
                                                             bool first_has_bar) {
  if (!first_has_bar) {
    LIQUID_ASSIGN_OR_RETURN(input, ParseFilter(std::move(input)));
  }
  while (tokens_.SkipOperator("|")) {
    LIQUID_ASSIGN_OR_RETURN(input, ParseFilter(std::move(input)));
  }
  return input;
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseTest(ExpressionPtr value) {
  ExpressionPtr test = Make(Kind::kTest, tokens_.Take().offset);
  const bool negated = tokens_.SkipName("not");
  if (!tokens_.IsKind(TokenKind::kName)) return tokens_.Unexpected("the name of a test");
  test->offset = tokens_.current().offset;
  test->name = tokens_.Take().text;
  test->test = FindTest(test->name);
  if (test->test == nullptr) {
    return tokens_.Error(test->offset, Concat("the test '", test->name, "' is not supported"));
  }
  test->children.push_back(std::move(value));
  const bool argument_follows =
      tokens_.IsKind(TokenKind::kString) || tokens_.IsKind(TokenKind::kInteger) ||
      tokens_.IsKind(TokenKind::kFloat) || tokens_.IsOperator("[") || tokens_.IsOperator("{") ||
      (tokens_.IsKind(TokenKind::kName) && !tokens_.IsName("else") && !tokens_.IsName("or") &&
       !tokens_.IsName("and"));
  if (tokens_.IsOperator("(")) {
    LIQUID_RETURN_IF_ERROR(ParseArguments(&test->arguments));
  } else if (tokens_.IsName("is")) {
    return tokens_.Error(tokens_.current().offset, "tests cannot be chained with 'is'");
  } else if (argument_follows) {
    // As in Jinja, `x is divisibleby 3`: one argument may stand without parentheses.
    LIQUID_ASSIGN_OR_RETURN(ExpressionPtr argument, ParsePrimary());
    LIQUID_ASSIGN_OR_RETURN(argument, ParsePostfix(std::move(argument)));
    test->arguments.emplace_back().value = std::move(argument);
  }
  const size_t offset = test->offset;
  LIQUID_ASSIGN_OR_RETURN(ExpressionPtr finished, Finish(std::move(test)));
  if (!negated) return finished;
  ExpressionPtr negation = Make(Kind::kNot, offset);
  negation->children.push_back(std::move(finished));
  return Finish(std::move(negation));
}

}  // namespace liquid::jinja
