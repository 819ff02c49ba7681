// Text on its way to tokens that remembers which bytes of the input it came from.
#ifndef LIQUID_DATA_ALIGNED_TEXT_H_
#define LIQUID_DATA_ALIGNED_TEXT_H_

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "data/unicode.h"

namespace liquid {

// Bytes [begin, end) of a text.
struct ByteRange {
  size_t begin = 0;
  size_t end = 0;
  friend bool operator==(const ByteRange&, const ByteRange&) = default;
};

// A view of valid UTF-8 with its origins: `origins[i]` is the input's range for byte i, or, where
// `origins` is null, byte i is the input's byte `base` + i.
struct TextSpan {
  std::string_view text;
  size_t base = 0;
  const ByteRange* origins = nullptr;

  TextSpan Sub(size_t begin, size_t end) const {
    return {text.substr(begin, end - begin), base + begin,
            origins == nullptr ? nullptr : origins + begin};
  }

  // The origin of the character that has byte `i`.
  ByteRange OriginOfByte(size_t i) const {
    if (origins != nullptr) return origins[i];
    size_t begin = i;
    while (begin > 0 && IsContinuation(text[begin])) --begin;
    return {base + begin, base + begin + Utf8Length(text[begin])};
  }
  // The origin of bytes [begin, end), not empty, made to end at whole characters.
  ByteRange OriginOf(size_t begin, size_t end) const {
    return {OriginOfByte(begin).begin, OriginOfByte(end - 1).end};
  }
  // Where in the input the span begins.
  size_t Start() const { return text.empty() || origins == nullptr ? base : origins[0].begin; }
};

// Text that was rewritten: owns what a TextSpan views.
struct AlignedText {
  std::string text;
  std::vector<ByteRange> origins;  // one for each byte if `tracked`, else empty
  size_t base = 0;
  bool tracked = false;

  TextSpan Span() const { return {text, base, tracked ? origins.data() : nullptr}; }
  void Append(std::string_view bytes, ByteRange origin) {
    text.append(bytes);
    if (tracked) origins.insert(origins.end(), bytes.size(), origin);
  }
  void Append(const TextSpan& span) {
    text.append(span.text);
    if (!tracked) return;
    if (span.origins != nullptr) {
      origins.insert(origins.end(), span.origins, span.origins + span.text.size());
      return;
    }
    for (size_t i = 0; i < span.text.size();) {
      const size_t length = Utf8Length(span.text[i]);
      origins.insert(origins.end(), length, {span.base + i, span.base + i + length});
      i += length;
    }
  }
  void Clear(size_t new_base, bool track) {
    text.clear();
    origins.clear();
    base = new_base;
    tracked = track;
  }
};

// `span` with every `pattern` (not empty) replaced by `content`; false, and `out` as it was, if
// there is none. A replacement's origin is that of the last byte of what it replaces.
bool ReplaceAll(const TextSpan& span, std::string_view pattern, std::string_view content,
                bool track, AlignedText* out);

// `prefix` and then `span`, which is not empty; the prefix has the origin of its first character.
void Prepend(std::string_view prefix, const TextSpan& span, bool track, AlignedText* out);

}  // namespace liquid

#endif  // LIQUID_DATA_ALIGNED_TEXT_H_
