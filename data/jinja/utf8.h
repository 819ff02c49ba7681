// UTF-8 as Python's str sees it: positions are code points, whitespace is Unicode's.
// Every function but IsValidUtf8 takes valid UTF-8.
#ifndef LIQUID_DATA_JINJA_UTF8_H_
#define LIQUID_DATA_JINJA_UTF8_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace liquid::jinja {

bool IsValidUtf8(std::string_view bytes);

// Number of code points.
size_t CountCodePoints(std::string_view text);

// Byte offset of code point `index`, at most text.size().
size_t ByteOffset(std::string_view text, size_t index);

// Bytes of the code point that starts with `lead`: 1 to 4.
size_t CodePointBytes(char lead);

// The code point at byte `offset`, which must be the start of one.
char32_t CodePointAt(std::string_view text, size_t offset);
void AppendCodePoint(char32_t code_point, std::string* out);

// As Python's str.isspace() for one character, which is also what `\s` matches.
bool IsSpace(char32_t code_point);

// Byte offsets of what is left of `text` after stripping, as Python's lstrip() and rstrip() do:
// the code points in `characters`, or whitespace where `characters` is null.
size_t StripLeft(std::string_view text, const std::string_view* characters);
size_t StripRight(std::string_view text, const std::string_view* characters);

}  // namespace liquid::jinja

#endif  // LIQUID_DATA_JINJA_UTF8_H_
