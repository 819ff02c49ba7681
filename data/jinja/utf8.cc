#include "data/jinja/utf8.h"

namespace liquid::jinja {
namespace {

bool IsContinuation(char byte) { return (static_cast<unsigned char>(byte) & 0xC0) == 0x80; }

// Whether one code point's encoding stands at `offset`, neither overlong nor a surrogate.
bool ValidAt(std::string_view bytes, size_t offset, size_t* length) {
  const auto lead = static_cast<unsigned char>(bytes[offset]);
  if (lead < 0x80) {
    *length = 1;
    return true;
  }
  if (lead < 0xC2 || lead > 0xF4) return false;
  *length = CodePointBytes(bytes[offset]);
  if (offset + *length > bytes.size()) return false;
  for (size_t i = 1; i < *length; ++i) {
    if (!IsContinuation(bytes[offset + i])) return false;
  }
  const char32_t code_point = CodePointAt(bytes, offset);
  if (*length == 3) return code_point >= 0x800 && (code_point < 0xD800 || code_point > 0xDFFF);
  if (*length == 4) return code_point >= 0x10000 && code_point <= 0x10FFFF;
  return true;
}

bool InSet(std::string_view text, size_t offset, const std::string_view* characters) {
  if (characters == nullptr) return IsSpace(CodePointAt(text, offset));
  const std::string_view one = text.substr(offset, CodePointBytes(text[offset]));
  return characters->find(one) != std::string_view::npos;
}

}  // namespace

bool IsValidUtf8(std::string_view bytes) {
  for (size_t offset = 0, length = 0; offset < bytes.size(); offset += length) {
    if (!ValidAt(bytes, offset, &length)) return false;
  }
  return true;
}

size_t CountCodePoints(std::string_view text) {
  size_t count = 0;
  for (const char byte : text) count += !IsContinuation(byte);
  return count;
}

size_t ByteOffset(std::string_view text, size_t index) {
  size_t offset = 0;
  while (index > 0 && offset < text.size()) {
    offset += CodePointBytes(text[offset]);
    --index;
  }
  return offset;
}

size_t CodePointBytes(char lead) {
  const auto byte = static_cast<unsigned char>(lead);
  return byte < 0x80 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}

char32_t CodePointAt(std::string_view text, size_t offset) {
  const auto lead = static_cast<unsigned char>(text[offset]);
  const size_t length = CodePointBytes(text[offset]);
  if (length == 1) return lead;
  char32_t code_point = lead & (0xFFu >> (length + 1));
  for (size_t i = 1; i < length; ++i) {
    code_point = (code_point << 6) | (static_cast<unsigned char>(text[offset + i]) & 0x3Fu);
  }
  return code_point;
}

void AppendCodePoint(char32_t code_point, std::string* out) {
  const auto push = [out](char32_t byte) { out->push_back(static_cast<char>(byte)); };
  if (code_point < 0x80) {
    push(code_point);
  } else if (code_point < 0x800) {
    push(0xC0 | (code_point >> 6));
    push(0x80 | (code_point & 0x3F));
  } else if (code_point < 0x10000) {
    push(0xE0 | (code_point >> 12));
    push(0x80 | ((code_point >> 6) & 0x3F));
    push(0x80 | (code_point & 0x3F));
  } else {
    push(0xF0 | (code_point >> 18));
    push(0x80 | ((code_point >> 12) & 0x3F));
    push(0x80 | ((code_point >> 6) & 0x3F));
    push(0x80 | (code_point & 0x3F));
  }
}

bool IsSpace(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 ||
         c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
         c == 0x205F || c == 0x3000;
}

size_t StripLeft(std::string_view text, const std::string_view* characters) {
  size_t offset = 0;
  while (offset < text.size() && InSet(text, offset, characters)) {
    offset += CodePointBytes(text[offset]);
  }
  return offset;
}

size_t StripRight(std::string_view text, const std::string_view* characters) {
  size_t end = text.size();
  while (end > 0) {
    size_t start = end - 1;
    while (start > 0 && IsContinuation(text[start])) --start;
    if (!InSet(text, start, characters)) break;
    end = start;
  }
  return end;
}

}  // namespace liquid::jinja
