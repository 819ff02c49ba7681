#include "data/json_reader.h"

#include <algorithm>
#include <charconv>
#include <cstring>

#include "data/concat.h"
#include "data/unicode.h"

namespace liquid {
namespace {

bool IsSpace(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }
// A character that a string cannot simply run over.
bool StopsString(char c) { return c == '"' || c == '\\' || static_cast<uint8_t>(c) < 0x20; }
bool EndsScalar(char c) { return IsSpace(c) || c == ',' || c == '}' || c == ']' || c == ':'; }

}  // namespace

void JsonReader::FailAt(size_t place, std::string_view what) {
  if (!status_.ok()) return;
  const std::string_view before = text_.substr(0, place);
  const auto line = 1 + std::count(before.begin(), before.end(), '\n');
  const size_t line_start = before.rfind('\n') + 1;  // npos + 1 is 0
  status_ = absl::InvalidArgumentError(
      Concat("line ", line, ", column ", place - line_start + 1, ": ", what));
}

void JsonReader::SkipSpace() {
  while (at_ < text_.size() && IsSpace(text_[at_])) ++at_;
}

char JsonReader::Peek() {
  SkipSpace();
  return at_ < text_.size() ? text_[at_] : '\0';
}

void JsonReader::Begin(char open) {
  if (!ok()) return;
  if (Peek() != open) return Fail(open == '{' ? "an object was expected" : "a list was expected");
  ++at_;
  first_.push_back(true);
}

bool JsonReader::NextItem(char close) {
  if (!ok()) return false;
  if (Peek() == close) {
    ++at_;
    first_.pop_back();
    return false;
  }
  if (!first_.back()) {
    if (Peek() != ',') {
      Fail(Concat("',' or '", std::string_view(&close, 1), "' was expected"));
      return false;
    }
    ++at_;
  }
  first_.back() = false;
  return true;
}

bool JsonReader::NextKey(std::string_view* key) {
  if (!NextItem('}') || !ReadString(key)) return false;
  if (Peek() != ':') {
    Fail("':' was expected");
    return false;
  }
  ++at_;
  return true;
}

bool JsonReader::NextElement() { return NextItem(']'); }

bool JsonReader::ReadString(std::string_view* value) {
  if (!ok()) return false;
  if (Peek() != '"') {
    Fail("a string was expected");
    return false;
  }
  const size_t start = ++at_;
  bool escaped = false;
  unescaped_.clear();
  size_t piece = start;
  for (; at_ < text_.size(); ++at_) {
    while (at_ < text_.size() && !StopsString(text_[at_])) ++at_;
    if (at_ == text_.size()) break;
    const char c = text_[at_];
    if (c == '"') {
      if (escaped) unescaped_.append(text_.substr(piece, at_ - piece));
      *value = escaped ? std::string_view(unescaped_) : text_.substr(start, at_ - start);
      ++at_;
      return true;
    }
    if (static_cast<uint8_t>(c) < 0x20) {
      Fail("a control character in a string");
      return false;
    }
    escaped = true;
    unescaped_.append(text_.substr(piece, at_ - piece));
    ++at_;
    if (!ReadEscape()) return false;
    piece = at_ + 1;
  }
  Fail("a string without end");
  return false;
}

// At the character after the backslash; leaves `at_` at the last character of the escape.
bool JsonReader::ReadEscape() {
  constexpr std::string_view kNames = "\"\\/bfnrt";
  constexpr std::string_view kValues = "\"\\/\b\f\n\r\t";
  const char c = at_ < text_.size() ? text_[at_] : '\0';
  const size_t simple = c == '\0' ? std::string_view::npos : kNames.find(c);
  if (simple != std::string_view::npos) {
    unescaped_.push_back(kValues[simple]);
    return true;
  }
  uint32_t code = 0;
  if (c != 'u' || !ReadHex4(&code)) {
    Fail("an unknown escape in a string");
    return false;
  }
  if (code >= 0xD800 && code < 0xDC00 && text_.substr(at_ + 1, 2) == "\\u") {
    uint32_t low = 0;
    at_ += 2;
    if (!ReadHex4(&low) || low < 0xDC00 || low > 0xDFFF) {
      Fail("half of a surrogate pair in a string");
      return false;
    }
    code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
  }
  if (code >= 0xD800 && code < 0xE000) {
    Fail("half of a surrogate pair in a string");
    return false;
  }
  AppendUtf8(code, &unescaped_);
  return true;
}

// At the 'u'; leaves `at_` at the last digit.
bool JsonReader::ReadHex4(uint32_t* value) {
  if (at_ + 4 >= text_.size()) return false;
  const char* digits = text_.data() + at_ + 1;
  const auto [end, error] = std::from_chars(digits, digits + 4, *value, 16);
  at_ += 4;
  return error == std::errc() && end == digits + 4;
}

bool JsonReader::ReadInteger(int64_t* value) {
  if (!ok()) return false;
  SkipSpace();
  const char* begin = text_.data() + at_;
  const char* limit = text_.data() + text_.size();
  const auto [end, error] = std::from_chars(begin, limit, *value);
  if (error != std::errc() || (end < limit && !EndsScalar(*end))) {
    Fail("a whole number was expected");
    return false;
  }
  at_ += static_cast<size_t>(end - begin);
  return true;
}

std::string_view JsonReader::SkipValue() {
  if (!ok()) return {};
  SkipSpace();
  const size_t start = at_;
  int64_t depth = 0;
  while (at_ < text_.size()) {
    const char c = text_[at_];
    if (c == '"') {
      ++at_;
      while (at_ < text_.size() && text_[at_] != '"') at_ += text_[at_] == '\\' ? 2 : 1;
      if (at_ >= text_.size()) break;
    } else if (c == '{' || c == '[') {
      ++depth;
    } else if (c == '}' || c == ']') {
      if (--depth < 0) break;
    } else if (depth == 0) {
      while (at_ < text_.size() && !EndsScalar(text_[at_])) ++at_;
      if (at_ == start) break;
      return text_.substr(start, at_ - start);
    }
    ++at_;
    if (depth == 0) return text_.substr(start, at_ - start);
  }
  at_ = std::min(at_, text_.size());
  Fail("a value was expected");
  return {};
}

bool JsonReader::ReadEnd() {
  if (ok() && Peek() != '\0') Fail("text after the end of the value");
  if (ok() && at_ < text_.size()) Fail("a zero byte");
  return ok();
}

}  // namespace liquid
