#include "data/jinja/case.h"

#include <algorithm>
#include <string_view>

#include "data/jinja/case_tables.h"
#include "data/jinja/utf8.h"

namespace liquid::jinja {
namespace {

char32_t Simple(char32_t c, const CaseRun* runs, size_t num_runs) {
  const CaseRun* end = runs + num_runs;
  // Runs of stride 2 may interleave with their neighbours: look at the last few that begin early
  // enough.
  const CaseRun* it = std::upper_bound(
      runs, end, c, [](char32_t value, const CaseRun& run) { return value < run.first; });
  for (int back = 0; back < 3 && it != runs; ++back) {
    --it;
    if (c <= it->last && (c - it->first) % it->stride == 0) {
      return c + static_cast<char32_t>(it->delta);
    }
  }
  return c;
}

template <typename Map>
Text MapCharacters(const Text& text, Map map) {
  Text out;
  size_t offset = 0;
  for (const Run& run : text.runs()) {
    const std::string_view part = std::string_view(text.bytes()).substr(offset, run.length);
    std::string mapped;
    for (size_t i = 0; i < part.size(); i += CodePointBytes(part[i])) {
      map(CodePointAt(part, i), &mapped);
    }
    out.Append(mapped, run.origin);
    offset += run.length;
  }
  return out;
}

bool HasUpperForm(char32_t c) {
  std::string out;
  std::string same;
  AppendUpper(c, &out);
  AppendCodePoint(c, &same);
  return out != same;
}

bool HasLowerForm(char32_t c) {
  std::string out;
  std::string same;
  AppendLower(c, &out);
  AppendCodePoint(c, &same);
  return out != same;
}

// A letter, as far as casing tells: what has case, and other characters beyond ASCII.
bool IsCased(char32_t c) { return HasUpperForm(c) || HasLowerForm(c); }

bool StartsJinjaWord(char32_t before) {
  constexpr std::string_view kOpeners = "-({[<";
  return IsSpace(before) ||
         (before < 0x80 && kOpeners.find(static_cast<char>(before)) != std::string_view::npos);
}

bool AllOfCase(const Text& text, bool upper) {
  bool found = false;
  const std::string_view bytes = text.bytes();
  for (size_t i = 0; i < bytes.size(); i += CodePointBytes(bytes[i])) {
    const char32_t c = CodePointAt(bytes, i);
    if (upper ? HasUpperForm(c) : HasLowerForm(c)) return false;
    found |= IsCased(c);
  }
  return found;
}

}  // namespace

void AppendUpper(char32_t c, std::string* out) {
  if (c < 0x80) {
    out->push_back(static_cast<char>(c >= 'a' && c <= 'z' ? c - 32 : c));
    return;
  }
  const CaseExpansion* end = kUpperExpansions + kNumUpperExpansions;
  const CaseExpansion* it = std::lower_bound(
      kUpperExpansions, end, c,
      [](const CaseExpansion& entry, char32_t value) { return entry.code_point < value; });
  if (it == end || it->code_point != c) {
    AppendCodePoint(Simple(c, kUpperRuns, kNumUpperRuns), out);
    return;
  }
  for (const char32_t to : it->to) {
    if (to != 0) AppendCodePoint(to, out);
  }
}

void AppendLower(char32_t c, std::string* out) {
  if (c < 0x80) {
    out->push_back(static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c));
  } else if (c == 0x130) {
    // The one letter whose lower case is two code points.
    AppendCodePoint('i', out);
    AppendCodePoint(0x307, out);
  } else {
    AppendCodePoint(Simple(c, kLowerRuns, kNumLowerRuns), out);
  }
}

Text ToUpper(const Text& text) { return MapCharacters(text, AppendUpper); }

Text ToLower(const Text& text) { return MapCharacters(text, AppendLower); }

Text ToTitle(const Text& text, WordRule rule) {
  char32_t before = ' ';
  return MapCharacters(text, [&before, rule](char32_t c, std::string* out) {
    const bool starts = rule == WordRule::kPython ? !IsCased(before) : StartsJinjaWord(before);
    starts ? AppendUpper(c, out) : AppendLower(c, out);
    before = c;
  });
}

Text Capitalize(const Text& text) {
  bool first = true;
  return MapCharacters(text, [&first](char32_t c, std::string* out) {
    first ? AppendUpper(c, out) : AppendLower(c, out);
    first = false;
  });
}

Text SwapCase(const Text& text) {
  return MapCharacters(text, [](char32_t c, std::string* out) {
    HasUpperForm(c) ? AppendUpper(c, out) : AppendLower(c, out);
  });
}

bool IsUpper(const Text& text) { return AllOfCase(text, true); }

bool IsLower(const Text& text) { return AllOfCase(text, false); }

}  // namespace liquid::jinja
