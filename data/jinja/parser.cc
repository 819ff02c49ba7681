#include "data/jinja/parser.h"

#include <array>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "data/concat.h"
#include "data/jinja/expression_parser.h"
#include "data/jinja/lexer.h"
#include "data/jinja/token_stream.h"
#include "data/jinja/utf8.h"

namespace liquid::jinja {
namespace {

using Kind = Statement::Kind;
using TokenKind = Token::Kind;
using Result = absl::StatusOr<Statement>;

constexpr int kMaxDepth = 100;

Statement Make(Kind kind, size_t offset) {
  Statement statement;
  statement.kind = kind;
  statement.offset = offset;
  return statement;
}

class Parser {
 public:
  Parser(std::vector<Token> tokens, std::string_view source, std::string_view name)
      : tokens_(std::move(tokens), source, name), expressions_(&tokens_, &symbols_) {}

  absl::StatusOr<Ast> Run() {
    Ast ast;
    LIQUID_ASSIGN_OR_RETURN(ast.body, ParseBlock({}));
    ast.symbols = std::move(symbols_).Take();
    ast.has_generation = has_generation_;
    return ast;
  }

 private:
  // Statements up to a tag named as one of `ends`, whose name is left as the current token;
  // up to the end of the template if `ends` is empty.
  absl::StatusOr<Block> ParseBlock(const std::vector<std::string_view>& ends) {
    if (++depth_ > kMaxDepth) return tokens_.Unexpected("blocks that are nested less deep");
    const size_t begin = tokens_.current().offset;
    Block block;
    while (true) {
      const size_t offset = tokens_.current().offset;
      if (tokens_.IsKind(TokenKind::kEnd)) {
        if (ends.empty()) break;
        return tokens_.Error(begin, Concat("this block has no {% ", ends.back(), " %}"));
      }
      if (tokens_.IsKind(TokenKind::kData)) {
        Statement text = Make(Kind::kText, offset);
        text.text = Value::Of(tokens_.Take().text);
        block.push_back(std::move(text));
      } else if (tokens_.IsKind(TokenKind::kVariableBegin)) {
        tokens_.Take();
        LIQUID_ASSIGN_OR_RETURN(Statement output, ParseOutput(offset, TokenKind::kVariableEnd));
        block.push_back(std::move(output));
      } else {
        LIQUID_RETURN_IF_ERROR(tokens_.ExpectKind(TokenKind::kBlockBegin, "a tag"));
        if (!tokens_.IsKind(TokenKind::kName)) return tokens_.Unexpected("the name of a tag");
        bool at_end = false;
        for (const std::string_view end : ends) at_end |= tokens_.IsName(end);
        if (at_end) break;
        LIQUID_ASSIGN_OR_RETURN(Statement statement, ParseTag());
        block.push_back(std::move(statement));
      }
    }
    --depth_;
    return block;
  }

  // A block that ends with {% end %}, which is taken too.
  absl::StatusOr<Block> ParseBody(std::string_view end) {
    LIQUID_ASSIGN_OR_RETURN(Block body, ParseBlock({end}));
    tokens_.Take();
    LIQUID_RETURN_IF_ERROR(ExpectTagEnd());
    return body;
  }

  absl::Status ExpectTagEnd() { return tokens_.ExpectKind(TokenKind::kBlockEnd, "'%}'"); }

  Result ParseOutput(size_t offset, TokenKind end) {
    Statement output = Make(Kind::kOutput, offset);
    LIQUID_ASSIGN_OR_RETURN(output.value, expressions_.ParseTuple(true, ""));
    LIQUID_RETURN_IF_ERROR(
        tokens_.ExpectKind(end, end == TokenKind::kVariableEnd ? "'}}'" : "'%}'"));
    return output;
  }

  Result ParseTag() {
    constexpr std::pair<std::string_view, Result (Parser::*)(size_t)> kTags[] = {
        {"if", &Parser::ParseIf},
        {"for", &Parser::ParseFor},
        {"set", &Parser::ParseSet},
        {"macro", &Parser::ParseMacro},
        {"call", &Parser::ParseCallBlock},
        {"filter", &Parser::ParseFilterBlock},
        {"with", &Parser::ParseWith},
        {"generation", &Parser::ParseGeneration},
        {"break", &Parser::ParseLoopControl},
        {"continue", &Parser::ParseLoopControl},
        {"print", &Parser::ParsePrint},
    };
    const size_t offset = tokens_.current().offset;
    for (const auto& [name, parse] : kTags) {
      if (tokens_.IsName(name)) {
        tag_ = tokens_.Take().text;
        return (this->*parse)(offset);
      }
    }
    const std::string& name = tokens_.current().text;
    if (name.starts_with("end") || name == "else" || name == "elif") {
      return tokens_.Error(offset, Concat("{% ", name, " %}, but there is nothing to end"));
    }
    return tokens_.Error(offset, Concat("the tag '", name, "' is not supported"));
  }

  Result ParsePrint(size_t offset) { return ParseOutput(offset, TokenKind::kBlockEnd); }

  Result ParseIf(size_t offset) {
    Statement statement = Make(Kind::kIf, offset);
    while (true) {
      LIQUID_ASSIGN_OR_RETURN(ExpressionPtr condition, expressions_.ParseTuple(false, ""));
      LIQUID_RETURN_IF_ERROR(ExpectTagEnd());
      statement.conditions.push_back(std::move(condition));
      LIQUID_ASSIGN_OR_RETURN(Block body, ParseBlock({"elif", "else", "endif"}));
      statement.bodies.push_back(std::move(body));
      if (!tokens_.SkipName("elif")) break;
    }
    if (tokens_.SkipName("else")) {
      LIQUID_RETURN_IF_ERROR(ExpectTagEnd());
      LIQUID_ASSIGN_OR_RETURN(Block body, ParseBody("endif"));
      statement.bodies.push_back(std::move(body));
      return statement;
    }
    tokens_.Take();
    LIQUID_RETURN_IF_ERROR(ExpectTagEnd());
    return statement;
  }

  Result ParseFor(size_t offset) {
    Statement loop = Make(Kind::kFor, offset);
    LIQUID_ASSIGN_OR_RETURN(loop.target, ParseTarget("in"));
    if (!tokens_.SkipName("in")) return tokens_.Unexpected("'in'");
    LIQUID_ASSIGN_OR_RETURN(loop.value, expressions_.ParseTuple(false, "recursive"));
    if (tokens_.SkipName("if")) {
      LIQUID_ASSIGN_OR_RETURN(ExpressionPtr condition, expressions_.Parse());
      loop.conditions.push_back(std::move(condition));
    }
    loop.recursive = tokens_.SkipName("recursive");
    LIQUID_RETURN_IF_ERROR(ExpectTagEnd());
    ++loop_depth_;
    LIQUID_ASSIGN_OR_RETURN(Block body, ParseBlock({"else", "endfor"}));
    --loop_depth_;
    loop.bodies.push_back(std::move(body));
    loop.bodies.emplace_back();
    if (tokens_.SkipName("else")) {
      LIQUID_RETURN_IF_ERROR(ExpectTagEnd());
      LIQUID_ASSIGN_OR_RETURN(loop.bodies[1], ParseBody("endfor"));
      return loop;
    }
    tokens_.Take();
    LIQUID_RETURN_IF_ERROR(ExpectTagEnd());
    return loop;
  }

  Result ParseLoopControl(size_t offset) {
    Statement control = Make(tag_ == "break" ? Kind::kBreak : Kind::kContinue, offset);
    if (loop_depth_ == 0) {
      return tokens_.Error(offset, Concat("{% ", tag_, " %} outside of a loop"));
    }
    LIQUID_RETURN_IF_ERROR(ExpectTagEnd());
    return control;
  }

  // One target, or several with commas.
  absl::StatusOr<Target> ParseTarget(std::string_view stop) {
    if (++depth_ > kMaxDepth) return tokens_.Unexpected("a simpler target");
    Target tuple;
    bool is_tuple = false;
    while (!tokens_.IsOperator(")") && !(!stop.empty() && tokens_.IsName(stop))) {
      LIQUID_ASSIGN_OR_RETURN(Target one, ParseOneTarget());
      tuple.parts.push_back(std::move(one));
      if (!tokens_.SkipOperator(",")) break;
      is_tuple = true;
    }
    --depth_;
    if (tuple.parts.empty()) return tokens_.Unexpected("the name of a variable");
    if (is_tuple) return tuple;
    Target only = std::move(tuple.parts[0]);
    return only;
  }

  absl::StatusOr<Target> ParseOneTarget() {
    if (tokens_.SkipOperator("(")) {
      LIQUID_ASSIGN_OR_RETURN(Target inner, ParseTarget(""));
      LIQUID_RETURN_IF_ERROR(tokens_.ExpectOperator(")"));
      return inner;
    }
    if (!tokens_.IsKind(TokenKind::kName)) return tokens_.Unexpected("the name of a variable");
    Target target;
    LIQUID_ASSIGN_OR_RETURN(target.symbol, TakeVariable());
    if (tokens_.SkipOperator(".")) {
      if (!tokens_.IsKind(TokenKind::kName)) return tokens_.Unexpected("the name of an attribute");
      target.attribute = tokens_.Take().text;
    }
    return target;
  }

  absl::StatusOr<int> TakeVariable() {
    constexpr std::array<std::string_view, 6> kConstants = {"true", "false", "none",
                                                            "True", "False", "None"};
    for (const std::string_view constant : kConstants) {
      if (tokens_.IsName(constant)) {
        return tokens_.Error(tokens_.current().offset, Concat("cannot assign to '", constant, "'"));
      }
    }
    if (!tokens_.IsKind(TokenKind::kName)) return tokens_.Unexpected("the name of a variable");
    return symbols_.Intern(tokens_.Take().text);
  }

  Result ParseSet(size_t offset) {
    Statement set = Make(Kind::kSet, offset);
    LIQUID_ASSIGN_OR_RETURN(set.target, ParseTarget(""));
    if (tokens_.SkipOperator("=")) {
      LIQUID_ASSIGN_OR_RETURN(set.value, expressions_.ParseTuple(true, ""));
      LIQUID_RETURN_IF_ERROR(ExpectTagEnd());
      return set;
    }
    set.kind = Kind::kSetBlock;
    if (tokens_.IsOperator("|")) {
      LIQUID_ASSIGN_OR_RETURN(set.value, expressions_.ParseFilters(nullptr, true));
    }
    LIQUID_RETURN_IF_ERROR(ExpectTagEnd());
    LIQUID_ASSIGN_OR_RETURN(Block body, ParseBody("endset"));
    set.bodies.push_back(std::move(body));
    return set;
  }

  absl::Status ParseParameters(Statement* statement) {
    LIQUID_RETURN_IF_ERROR(tokens_.ExpectOperator("("));
    while (!tokens_.IsOperator(")")) {
      Parameter parameter;
      parameter.name = tokens_.current().text;
      LIQUID_ASSIGN_OR_RETURN(parameter.symbol, TakeVariable());
      if (tokens_.SkipOperator("=")) {
        LIQUID_ASSIGN_OR_RETURN(parameter.default_value, expressions_.Parse());
      } else if (!statement->parameters.empty() &&
                 statement->parameters.back().default_value != nullptr) {
        return tokens_.Unexpected("a default value, as the parameter before has one");
      }
      statement->parameters.push_back(std::move(parameter));
      if (!tokens_.SkipOperator(",")) break;
    }
    return tokens_.ExpectOperator(")");
  }

  // The body of what can be called: loops outside of it are not its own.
  absl::Status ParseCallableBody(std::string_view end, Statement* statement) {
    const int loop_depth = std::exchange(loop_depth_, 0);
    LIQUID_ASSIGN_OR_RETURN(Block body, ParseBody(end));
    loop_depth_ = loop_depth;
    statement->bodies.push_back(std::move(body));
    return absl::OkStatus();
  }

  Result ParseMacro(size_t offset) {
    Statement macro = Make(Kind::kMacro, offset);
    macro.text = Value::Of(tokens_.current().text);
    LIQUID_ASSIGN_OR_RETURN(macro.target.symbol, TakeVariable());
    LIQUID_RETURN_IF_ERROR(ParseParameters(&macro));
    LIQUID_RETURN_IF_ERROR(ExpectTagEnd());
    LIQUID_RETURN_IF_ERROR(ParseCallableBody("endmacro", &macro));
    return macro;
  }

  Result ParseCallBlock(size_t offset) {
    Statement call = Make(Kind::kCallBlock, offset);
    call.text = Value::Of(std::string_view("caller"));
    if (tokens_.IsOperator("(")) LIQUID_RETURN_IF_ERROR(ParseParameters(&call));
    LIQUID_ASSIGN_OR_RETURN(call.value, expressions_.Parse());
    if (call.value->kind != Expression::Kind::kCall) {
      return tokens_.Error(offset, "{% call %} needs a call");
    }
    LIQUID_RETURN_IF_ERROR(ExpectTagEnd());
    LIQUID_RETURN_IF_ERROR(ParseCallableBody("endcall", &call));
    return call;
  }

  Result ParseFilterBlock(size_t offset) {
    Statement filter = Make(Kind::kFilterBlock, offset);
    LIQUID_ASSIGN_OR_RETURN(filter.value, expressions_.ParseFilters(nullptr, false));
    LIQUID_RETURN_IF_ERROR(ExpectTagEnd());
    LIQUID_ASSIGN_OR_RETURN(Block body, ParseBody("endfilter"));
    filter.bodies.push_back(std::move(body));
    return filter;
  }

  Result ParseWith(size_t offset) {
    Statement with = Make(Kind::kWith, offset);
    while (!tokens_.IsKind(TokenKind::kBlockEnd)) {
      LIQUID_ASSIGN_OR_RETURN(Target target, ParseOneTarget());
      LIQUID_RETURN_IF_ERROR(tokens_.ExpectOperator("="));
      LIQUID_ASSIGN_OR_RETURN(ExpressionPtr value, expressions_.Parse());
      with.assignments.emplace_back(std::move(target), std::move(value));
      if (!tokens_.SkipOperator(",")) break;
    }
    LIQUID_RETURN_IF_ERROR(ExpectTagEnd());
    LIQUID_ASSIGN_OR_RETURN(Block body, ParseBody("endwith"));
    with.bodies.push_back(std::move(body));
    return with;
  }

  Result ParseGeneration(size_t offset) {
    Statement generation = Make(Kind::kGeneration, offset);
    has_generation_ = true;
    LIQUID_RETURN_IF_ERROR(ExpectTagEnd());
    LIQUID_RETURN_IF_ERROR(ParseCallableBody("endgeneration", &generation));
    return generation;
  }

  SymbolTable symbols_;
  TokenStream tokens_;
  ExpressionParser expressions_;
  std::string tag_;  // the name of the tag being parsed
  int depth_ = 0;
  int loop_depth_ = 0;  // loops around, inside of the innermost macro
  bool has_generation_ = false;
};

}  // namespace

absl::StatusOr<Ast> ParseTemplate(std::string_view source, std::string_view name) {
  if (!IsValidUtf8(source)) {
    return absl::InvalidArgumentError(Concat(name, ": the template is not UTF-8"));
  }
  LIQUID_ASSIGN_OR_RETURN(std::vector<Token> tokens, Tokenize(source, name));
  return Parser(std::move(tokens), source, name).Run();
}

}  // namespace liquid::jinja
