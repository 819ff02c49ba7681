#include "data/aligned_text.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace liquid {
namespace {

constexpr size_t kFewBytes = sizeof(uint32_t);

// ReplaceAll without origins, of one byte by a few. Every byte writes kFewBytes, of which the next
// one overwrites what is too many: there is no branch to be guessed wrong.
void ReplaceByte(std::string_view text, char byte, std::string_view few, std::string* out) {
  const auto count = static_cast<size_t>(std::count(text.begin(), text.end(), byte));
  const size_t size = text.size() - count + count * few.size();
  out->resize(size + kFewBytes);
  uint32_t replacement = 0;
  std::memcpy(&replacement, few.data(), few.size());
  char* p = out->data();
  for (const char c : text) {
    uint32_t kept = 0;
    std::memcpy(&kept, &c, 1);
    const uint32_t written = c == byte ? replacement : kept;
    std::memcpy(p, &written, kFewBytes);
    p += c == byte ? few.size() : 1;
  }
  out->resize(size);
}

}  // namespace

bool ReplaceAll(const TextSpan& span, std::string_view pattern, std::string_view content,
                bool track, AlignedText* out) {
  size_t found = span.text.find(pattern);
  if (found == std::string_view::npos) return false;
  out->Clear(span.base, track);
  if (!track && pattern.size() == 1 && content.size() <= kFewBytes) {
    ReplaceByte(span.text, pattern[0], content, &out->text);
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
