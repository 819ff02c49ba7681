#include "data/jinja/lexer.h"

#include <array>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "base/status.h"
#include "data/concat.h"
#include "data/jinja/utf8.h"

namespace liquid::jinja {
namespace {

// Longest first, so that the first that matches is the right one.
constexpr std::array<std::string_view, 26> kOperators = {
    "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[",
    "]",  "(",  ")",  "{",  "}",  ">",  "<", "=", ".", ":", "|", ",", ";"};

bool IsNameStart(char c) {
  return absl::ascii_isalpha(static_cast<unsigned char>(c)) || c == '_' ||
         static_cast<unsigned char>(c) >= 0x80;
}
bool IsDigit(char c) { return absl::ascii_isdigit(static_cast<unsigned char>(c)); }
bool IsNamePart(char c) { return IsNameStart(c) || IsDigit(c); }

size_t SkipSpace(std::string_view source, size_t offset) {
  return offset + StripLeft(source.substr(offset), nullptr);
}

class Lexer {
 public:
  Lexer(std::string_view source, std::string_view name) : source_(source), name_(name) {}

  absl::StatusOr<std::vector<Token>> Run() {
    while (position_ < source_.size()) LIQUID_RETURN_IF_ERROR(NextPart());
    Add(Token::Kind::kEnd, source_.size());
    return std::move(tokens_);
  }

 private:
  absl::Status Error(size_t offset, std::string_view what) const {
    return ErrorAt(source_, name_, offset, what);
  }

  Token& Add(Token::Kind kind, size_t offset) {
    Token& token = tokens_.emplace_back();
    token.kind = kind;
    token.offset = offset;
    return token;
  }

  void AddData(size_t begin, size_t end) {
    if (begin < end) Add(Token::Kind::kData, begin).text = source_.substr(begin, end - begin);
  }

  // Data up to the next tag, and that tag.
  absl::Status NextPart() {
    size_t tag = position_;
    for (;; ++tag) {
      tag = source_.find('{', tag);
      if (tag == std::string_view::npos || tag + 1 >= source_.size()) {
        AddData(position_, source_.size());
        position_ = source_.size();
        return absl::OkStatus();
      }
      const char next = source_[tag + 1];
      if (next == '{' || next == '%' || next == '#') break;
    }
    const char type = source_[tag + 1];
    const char sign = tag + 2 < source_.size() ? source_[tag + 2] : '\0';
    AddData(position_, DataEnd(position_, tag, sign, type != '{'));
    const bool has_sign = sign == '-' || sign == '+';
    position_ = tag + 2 + has_sign;
    if (type == '#') return SkipComment(tag);
    if (type == '%' && WordAt("raw")) return Raw(tag);
    Add(type == '{' ? Token::Kind::kVariableBegin : Token::Kind::kBlockBegin, tag);
    return TagTokens(type, tag);
  }

  // Where the data from `begin` ends, given the tag at `tag` and its sign.
  size_t DataEnd(size_t begin, size_t tag, char sign, bool lstrip) const {
    const std::string_view data = source_.substr(begin, tag - begin);
    if (sign == '-') return begin + StripRight(data, nullptr);
    if (sign == '+' || !lstrip) return tag;
    // lstrip_blocks: nothing but whitespace between the start of the line and the tag goes.
    const size_t newline = data.rfind('\n');
    const size_t line = newline == std::string_view::npos ? 0 : newline + 1;
    if (line == 0 && !line_starting_) return tag;
    return StripLeft(data.substr(line), nullptr) == data.size() - line ? begin + line : tag;
  }

  // Whether the tag that was just opened holds only `word`; REQUIRES position_ behind its sign.
  bool WordAt(std::string_view word) const {
    const size_t start = SkipSpace(source_, position_);
    if (source_.substr(start, word.size()) != word) return false;
    const size_t end = SkipSpace(source_, start + word.size());
    return source_.substr(end, 2) == "%}" || source_.substr(end, 3) == "-%}" ||
           (word != "raw" && source_.substr(end, 3) == "+%}");
  }

  // Moves behind a tag's end that stands at `end`; `sign` is what stands before it.
  void Close(size_t end, char sign, bool trim) {
    position_ = end + 2;
    if (sign == '-') {
      position_ = SkipSpace(source_, position_);
    } else if (trim && sign != '+' && position_ < source_.size() && source_[position_] == '\n') {
      ++position_;  // trim_blocks
    }
    line_starting_ = source_[position_ - 1] == '\n';
  }

  absl::Status SkipComment(size_t tag) {
    const size_t end = source_.find("#}", position_);
    if (end == std::string_view::npos) return Error(tag, "comment without end: add #}");
    Close(end, end > position_ ? source_[end - 1] : '\0', true);
    return absl::OkStatus();
  }

  absl::Status Raw(size_t tag) {
    size_t end = source_.find("%}", position_);
    Close(end, source_[end - 1], false);
    const size_t begin = position_;
    for (size_t next = begin;; next += 2) {
      next = source_.find("{%", next);
      if (next == std::string_view::npos) return Error(tag, "raw block without endraw");
      const char sign = next + 2 < source_.size() ? source_[next + 2] : '\0';
      position_ = next + 2 + (sign == '-' || sign == '+');
      if (!WordAt("endraw")) continue;
      AddData(begin, DataEnd(begin, next, sign, true));
      end = source_.find("%}", position_);
      Close(end, source_[end - 1], true);
      return absl::OkStatus();
    }
  }

  // Tokens up to and including the tag's end. Inside of brackets, "}}" closes dicts.
  absl::Status TagTokens(char type, size_t tag) {
    const std::string_view close = type == '{' ? "}}" : "%}";
    std::string open_brackets;
    while (true) {
      position_ = SkipSpace(source_, position_);
      if (position_ >= source_.size()) {
        return Error(tag, Concat("tag without end: add ", close));
      }
      if (open_brackets.empty()) {
        const char sign = source_[position_];
        const bool has_sign = sign == '-' || (sign == '+' && type == '%');
        if (source_.substr(position_ + has_sign, 2) == close) {
          Add(type == '{' ? Token::Kind::kVariableEnd : Token::Kind::kBlockEnd, position_);
          Close(position_ + has_sign, has_sign ? sign : '\0', type == '%');
          return absl::OkStatus();
        }
      }
      LIQUID_RETURN_IF_ERROR(NextToken(&open_brackets));
    }
  }

  absl::Status NextToken(std::string* open_brackets) {
    const char c = source_[position_];
    if (IsDigit(c)) return Number();
    if (IsNameStart(c)) {
      const size_t begin = position_;
      while (position_ < source_.size() && IsNamePart(source_[position_])) ++position_;
      Add(Token::Kind::kName, begin).text = source_.substr(begin, position_ - begin);
      return absl::OkStatus();
    }
    if (c == '\'' || c == '"') return String();
    for (const std::string_view op : kOperators) {
      if (source_.substr(position_, op.size()) != op) continue;
      if (op == "(" || op == "[" || op == "{") {
        open_brackets->push_back(op == "(" ? ')' : op == "[" ? ']' : '}');
      } else if (op == ")" || op == "]" || op == "}") {
        if (open_brackets->empty() || open_brackets->back() != op[0]) {
          return Error(position_, Concat("unexpected '", op, "'"));
        }
        open_brackets->pop_back();
      }
      Add(Token::Kind::kOperator, position_).text = op;
      position_ += op.size();
      return absl::OkStatus();
    }
    return Error(position_, Concat("unexpected character '", source_.substr(position_, 1), "'"));
  }

  // Digits and single underscores between them.
  size_t DigitsEnd(size_t offset) const {
    while (offset < source_.size() &&
           (IsDigit(source_[offset]) || (source_[offset] == '_' && offset + 1 < source_.size() &&
                                         IsDigit(source_[offset + 1])))) {
      ++offset;
    }
    return offset;
  }

  absl::Status Number() {
    const size_t begin = position_;
    // "a.0.1" is two subscripts, not a subscript by 0.1.
    const bool after_dot = begin > 0 && source_[begin - 1] == '.';
    size_t end = DigitsEnd(begin);
    bool real = false;
    if (!after_dot && end + 1 < source_.size() && source_[end] == '.' &&
        IsDigit(source_[end + 1])) {
      end = DigitsEnd(end + 1);
      real = true;
    }
    if (!after_dot && end < source_.size() && (source_[end] == 'e' || source_[end] == 'E')) {
      size_t digits = end + 1;
      if (digits < source_.size() && (source_[digits] == '+' || source_[digits] == '-')) ++digits;
      if (digits < source_.size() && IsDigit(source_[digits])) {
        end = DigitsEnd(digits);
        real = true;
      }
    }
    if (end < source_.size() && IsNamePart(source_[end])) {
      return Error(begin, "only decimal numbers are supported");
    }
    std::string digits(source_.substr(begin, end - begin));
    std::erase(digits, '_');
    Token& token = Add(real ? Token::Kind::kFloat : Token::Kind::kInteger, begin);
    position_ = end;
    const bool ok =
        real ? absl::SimpleAtod(digits, &token.real) : absl::SimpleAtoi(digits, &token.integer);
    return ok ? absl::OkStatus() : Error(begin, "the number does not fit into 64 bits");
  }

  absl::Status String() {
    const size_t begin = position_;
    const char quote = source_[position_++];
    std::string value;
    while (true) {
      if (position_ >= source_.size()) return Error(begin, "string without end");
      const char c = source_[position_++];
      if (c == quote) break;
      if (c != '\\') {
        value.push_back(c);
      } else if (position_ < source_.size()) {
        LIQUID_RETURN_IF_ERROR(Escape(&value));
      }
    }
    Add(Token::Kind::kString, begin).text = std::move(value);
    return absl::OkStatus();
  }

  // Python's string escapes; an unknown one stands for itself, with its backslash.
  absl::Status Escape(std::string* value) {
    constexpr std::string_view kLetters = "abfnrtv\\'\"";
    constexpr std::string_view kMeanings = "\a\b\f\n\r\t\v\\'\"";
    const char c = source_[position_++];
    if (c == '\n') return absl::OkStatus();
    if (const size_t i = kLetters.find(c); i != std::string_view::npos) {
      value->push_back(kMeanings[i]);
      return absl::OkStatus();
    }
    if (c == 'x') return NumericEscape(2, 2, 16, value);
    if (c == 'u') return NumericEscape(4, 4, 16, value);
    if (c == 'U') return NumericEscape(8, 8, 16, value);
    if (c >= '0' && c <= '7') {
      --position_;
      return NumericEscape(1, 3, 8, value);
    }
    if (c == 'N') return Error(position_ - 2, "\\N{name} is not supported: use \\uXXXX");
    value->push_back('\\');
    value->push_back(c);
    return absl::OkStatus();
  }

  absl::Status NumericEscape(size_t min_digits, size_t max_digits, char32_t base,
                             std::string* value) {
    char32_t code_point = 0;
    size_t num_digits = 0;
    for (; num_digits < max_digits && position_ < source_.size(); ++num_digits, ++position_) {
      const auto c = static_cast<unsigned char>(
          absl::ascii_tolower(static_cast<unsigned char>(source_[position_])));
      const char32_t digit = IsDigit(static_cast<char>(c)) ? c - '0' : c - 'a' + 10u;
      if (!absl::ascii_isxdigit(c) || digit >= base) break;
      code_point = code_point * base + digit;
    }
    const bool surrogate = code_point >= 0xD800 && code_point <= 0xDFFF;
    if (num_digits < min_digits || code_point > 0x10FFFF || surrogate) {
      return Error(position_, "not a valid escape of a character");
    }
    AppendCodePoint(code_point, value);
    return absl::OkStatus();
  }

  const std::string_view source_;
  const std::string_view name_;
  size_t position_ = 0;
  bool line_starting_ = true;  // whether what was consumed last ended a line
  std::vector<Token> tokens_;
};

}  // namespace

std::string NormalizeSource(std::string_view source) {
  std::string out;
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r' && i + 1 < source.size() && source[i + 1] == '\n') continue;
    out.push_back(source[i] == '\r' ? '\n' : source[i]);
  }
  if (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

absl::StatusOr<std::vector<Token>> Tokenize(std::string_view source, std::string_view name) {
  return Lexer(source, name).Run();
}

absl::Status ErrorAt(std::string_view source, std::string_view name, size_t offset,
                     std::string_view what) {
  const std::string_view before = source.substr(0, offset);
  size_t line = 1;
  for (const char c : before) line += c == '\n';
  const size_t newline = before.rfind('\n');
  const size_t start = newline == std::string_view::npos ? 0 : newline + 1;
  return absl::InvalidArgumentError(
      Concat(name, ":", line, ":", CountCodePoints(before.substr(start)) + 1, ": ", what));
}

}  // namespace liquid::jinja
