// The parser's view of the tokens: look, take, expect, and say where it went wrong.
#ifndef LIQUID_DATA_JINJA_TOKEN_STREAM_H_
#define LIQUID_DATA_JINJA_TOKEN_STREAM_H_

#include <algorithm>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "data/concat.h"
#include "data/jinja/lexer.h"

namespace liquid::jinja {

// Numbers the names of variables.
class SymbolTable {
 public:
  int Intern(std::string_view name) {
    if (const auto it = numbers_.find(name); it != numbers_.end()) return it->second;
    names_.emplace_back(name);
    return numbers_[names_.back()] = static_cast<int>(names_.size()) - 1;
  }
  std::vector<std::string> Take() && { return std::move(names_); }

 private:
  std::map<std::string, int, std::less<>> numbers_;
  std::vector<std::string> names_;
};

class TokenStream {
 public:
  // REQUIRES: `tokens` ends with kEnd. `source` and `name` must outlive the stream.
  TokenStream(std::vector<Token> tokens, std::string_view source, std::string_view name)
      : tokens_(std::move(tokens)), source_(source), name_(name) {}

  const Token& current() const { return tokens_[position_]; }
  const Token& next() const { return tokens_[std::min(position_ + 1, tokens_.size() - 1)]; }
  // The end is never passed.
  Token Take() {
    return position_ + 1 < tokens_.size() ? std::move(tokens_[position_++]) : tokens_[position_];
  }

  bool IsKind(Token::Kind kind) const { return current().kind == kind; }
  bool IsOperator(std::string_view op) const {
    return IsKind(Token::Kind::kOperator) && current().text == op;
  }
  bool IsName(std::string_view name) const {
    return IsKind(Token::Kind::kName) && current().text == name;
  }
  bool SkipOperator(std::string_view op) { return IsOperator(op) && (Take(), true); }
  bool SkipName(std::string_view name) { return IsName(name) && (Take(), true); }

  absl::Status ExpectOperator(std::string_view op) {
    return SkipOperator(op) ? absl::OkStatus() : Unexpected(Concat("'", op, "'"));
  }
  absl::Status ExpectKind(Token::Kind kind, std::string_view what) {
    if (!IsKind(kind)) return Unexpected(what);
    Take();
    return absl::OkStatus();
  }

  absl::Status Error(size_t offset, std::string_view what) const {
    return ErrorAt(source_, name_, offset, what);
  }
  absl::Status Unexpected(std::string_view wanted) const {
    return Error(current().offset, Concat("expected ", wanted, ", found ", Describe()));
  }

 private:
  std::string Describe() const {
    switch (current().kind) {
      case Token::Kind::kEnd:
        return "the end of the template";
      case Token::Kind::kBlockEnd:
        return "'%}'";
      case Token::Kind::kVariableEnd:
        return "'}}'";
      case Token::Kind::kInteger:
      case Token::Kind::kFloat:
        return "a number";
      default:
        return Concat("'", current().text, "'");
    }
  }

  std::vector<Token> tokens_;
  size_t position_ = 0;
  const std::string_view source_;
  const std::string_view name_;
};

}  // namespace liquid::jinja

#endif  // LIQUID_DATA_JINJA_TOKEN_STREAM_H_
