// Upper and lower case of Unicode text, as Python's str methods map it (full mappings, except
// that the final sigma has no rule of its own).
#ifndef LIQUID_DATA_JINJA_CASE_H_
#define LIQUID_DATA_JINJA_CASE_H_

#include <string>

#include "data/jinja/text.h"

namespace liquid::jinja {

// Append the case mapping of one code point, as UTF-8.
void AppendUpper(char32_t code_point, std::string* out);
void AppendLower(char32_t code_point, std::string* out);

// Origins are kept character by character.
Text ToUpper(const Text& text);
Text ToLower(const Text& text);
// First letter of each word upper, the rest lower. A word is what `starts_word` says: a letter
// behind no letter (Python's str.title), or behind whitespace or one of "-({[<" (Jinja's filter).
enum class WordRule { kPython, kJinja };
Text ToTitle(const Text& text, WordRule rule);
Text Capitalize(const Text& text);
Text SwapCase(const Text& text);

// As str.isupper() and str.islower(): some cased letter, and none of the other case.
bool IsUpper(const Text& text);
bool IsLower(const Text& text);

}  // namespace liquid::jinja

#endif  // LIQUID_DATA_JINJA_CASE_H_
