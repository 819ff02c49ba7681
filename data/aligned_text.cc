#include "data/aligned_text.h"

#include <algorithm>

namespace liquid {

namespace {

// ReplaceAll without origins, of one byte from `found` on.
void ReplaceByte(std::string_view text, size_t found, char byte, std::string_view content,
                 std::string* out) {
  const size_t count = static_cast<size_t>(
      std::count(text.begin() + static_cast<ptrdiff_t>(found), text.end(), byte));
  out->resize(text.size() - count + count * content.size());
  char* p = std::copy_n(text.data(), found, out->data());
  for (const char c : text.substr(found)) {
    if (c == byte) {
      p = std::copy(content.begin(), content.end(), p);
    } else {
      *p++ = c;
    }
  }
}

}  // namespace

bool ReplaceAll(const TextSpan& span, std::string_view pattern, std::string_view content,
                bool track, AlignedText* out) {
  size_t found = span.text.find(pattern);
  if (found == std::string_view::npos) return false;
  out->Clear(span.base, track);
  if (!track && pattern.size() == 1) {
    ReplaceByte(span.text, found, pattern[0], content, &out->text);
    return true;
  }
  out->text.reserve(span.text.size() + span.text.size() / 2);
  size_t done = 0;
  while (found != std::string_view::npos) {
    out->Append(span.Sub(done, found));
    done = found + pattern.size();
    out->Append(content, track ? span.OriginOfByte(done - 1) : ByteRange{});
    found = span.text.find(pattern, done);
  }
  out->Append(span.Sub(done, span.text.size()));
  return true;
}

void Prepend(std::string_view prefix, const TextSpan& span, bool track, AlignedText* out) {
  out->Clear(span.base, track);
  out->Append(prefix, track ? span.OriginOfByte(0) : ByteRange{});
  out->Append(span);
}

}  // namespace liquid
