// UTF-8 and the classes of Unicode characters that tokenizers ask for.
#ifndef LIQUID_DATA_UNICODE_H_
#define LIQUID_DATA_UNICODE_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace liquid {

// What \p{..}, \s and \w tell apart (Unicode 16.0). The values are those of kClassStarts.
enum class CharClass : uint8_t {
  kOther,
  kUpper,
  kLower,
  kTitle,
  kModifierLetter,
  kOtherLetter,
  kMark,
  kDigit,  // \p{Nd} and \p{Nl}
  kOtherNumber,
  kConnector,
  kOtherPunctuation,
  kLetterSymbol,  // symbols that are part of words, as circled letters
  kOtherSymbol,
  kSpace,
  kNewline,  // CR and LF only
  kJoiner,
};

// A set of classes: bit i stands for the class of value i.
using CharClassMask = uint32_t;
constexpr CharClassMask MaskOf(CharClass c) { return 1u << static_cast<unsigned>(c); }
constexpr CharClassMask kLetterMask =
    MaskOf(CharClass::kUpper) | MaskOf(CharClass::kLower) | MaskOf(CharClass::kTitle) |
    MaskOf(CharClass::kModifierLetter) | MaskOf(CharClass::kOtherLetter);
constexpr CharClassMask kNumberMask = MaskOf(CharClass::kDigit) | MaskOf(CharClass::kOtherNumber);
constexpr CharClassMask kPunctuationMask =
    MaskOf(CharClass::kConnector) | MaskOf(CharClass::kOtherPunctuation);
constexpr CharClassMask kSymbolMask =
    MaskOf(CharClass::kLetterSymbol) | MaskOf(CharClass::kOtherSymbol);
constexpr CharClassMask kSpaceMask = MaskOf(CharClass::kSpace) | MaskOf(CharClass::kNewline);
constexpr CharClassMask kWordMask = kLetterMask | MaskOf(CharClass::kMark) |
                                    MaskOf(CharClass::kDigit) | MaskOf(CharClass::kConnector) |
                                    MaskOf(CharClass::kLetterSymbol) | MaskOf(CharClass::kJoiner);

// The class of every code point, as a table of pages; equal pages are kept once.
class CharClassTable {
 public:
  // The one table, made at the first call. Any thread.
  static const CharClassTable& Get();

  // `code_point` <= 0x10FFFF.
  CharClass Of(uint32_t code_point) const {
    return cells_[page_of_[code_point >> 8] * 256u + (code_point & 255)];
  }
  bool Is(uint32_t code_point, CharClassMask mask) const {
    return (mask >> static_cast<unsigned>(Of(code_point)) & 1) != 0;
  }

 private:
  CharClassTable();
  std::vector<uint16_t> page_of_;
  std::vector<CharClass> cells_;
};

// Bytes of the UTF-8 character that begins with `lead`. Valid UTF-8 is required.
constexpr size_t Utf8Length(char lead) {
  const auto byte = static_cast<uint8_t>(lead);
  return byte < 0x80 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}
constexpr bool IsContinuation(char byte) { return (static_cast<uint8_t>(byte) & 0xC0) == 0x80; }

// The code point of the character at `text`, which must be valid UTF-8.
inline uint32_t DecodeUtf8(const char* text) {
  const auto* p = reinterpret_cast<const uint8_t*>(text);
  if (p[0] < 0x80) return p[0];
  if (p[0] < 0xE0) return (p[0] & 31u) << 6 | (p[1] & 63u);
  if (p[0] < 0xF0) return (p[0] & 15u) << 12 | (p[1] & 63u) << 6 | (p[2] & 63u);
  return (p[0] & 7u) << 18 | (p[1] & 63u) << 12 | (p[2] & 63u) << 6 | (p[3] & 63u);
}
void AppendUtf8(uint32_t code_point, std::string* out);

// Length of the longest prefix of `text` that is valid UTF-8 (no surrogates, no overlong forms).
size_t ValidUtf8Prefix(std::string_view text);
inline bool IsValidUtf8(std::string_view text) { return ValidUtf8Prefix(text) == text.size(); }

// At `text`, where a valid character does not begin: bytes of the maximal subpart that one U+FFFD
// stands for (at least 1), after the Unicode Standard, "U+FFFD Substitution of Maximal Subparts".
// `*truncated`: the text ends inside of what might have become a character.
size_t InvalidUtf8Length(std::string_view text, bool* truncated);

// `text` with U+FFFD for every maximal subpart that is no UTF-8. With `origins`, also the byte of
// `text` that each byte of the result stands for, and text.size() at the end: for byte i of a
// character, origins[i] is the character's own byte i; all bytes of a U+FFFD have the first byte
// of what it replaces.
std::string ReplaceInvalidUtf8(std::string_view text, std::vector<size_t>* origins = nullptr);

}  // namespace liquid

#endif  // LIQUID_DATA_UNICODE_H_
