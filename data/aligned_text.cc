#include "data/aligned_text.h"

namespace liquid {

bool ReplaceAll(const TextSpan& span, std::string_view pattern, std::string_view content,
                bool track, AlignedText* out) {
  size_t found = span.text.find(pattern);
  if (found == std::string_view::npos) return false;
  out->Clear(span.base, track);
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
