#include "data/jinja/string_operations.h"

#include <algorithm>
#include <utility>

#include "base/status.h"
#include "data/jinja/print.h"
#include "data/jinja/utf8.h"

namespace liquid::jinja {
namespace {

using Cuts = std::vector<std::pair<size_t, size_t>>;  // [begin, end) of what is cut out

Cuts FindSeparators(std::string_view text, std::string_view separator, size_t max_splits,
                    bool from_right) {
  Cuts cuts;
  if (from_right) {
    size_t end = text.size();
    while (cuts.size() < max_splits && end >= separator.size()) {
      const size_t at = text.rfind(separator, end - separator.size());
      if (at == std::string_view::npos) break;
      cuts.emplace_back(at, at + separator.size());
      end = at;
    }
    std::reverse(cuts.begin(), cuts.end());
    return cuts;
  }
  for (size_t at = 0; cuts.size() < max_splits; at += separator.size()) {
    at = text.find(separator, at);
    if (at == std::string_view::npos) break;
    cuts.emplace_back(at, at + separator.size());
  }
  return cuts;
}

// Words between runs of whitespace. The last one of a limited split keeps the rest of the text.
std::vector<Value> SplitWords(const Text& text, size_t max_splits, bool from_right) {
  const std::string_view bytes = text.bytes();
  std::vector<Value> words;
  if (from_right) {
    size_t end = StripRight(bytes, nullptr);
    while (end > 0) {
      size_t begin = 0;
      if (words.size() < max_splits) {
        for (size_t i = 0; i < end; i += CodePointBytes(bytes[i])) {
          if (IsSpace(CodePointAt(bytes, i))) begin = i + CodePointBytes(bytes[i]);
        }
      }
      words.push_back(Value::Of(text.Slice(begin, end)));
      end = StripRight(bytes.substr(0, begin), nullptr);
    }
    std::reverse(words.begin(), words.end());
    return words;
  }
  size_t begin = StripLeft(bytes, nullptr);
  while (begin < bytes.size()) {
    size_t end = begin;
    if (words.size() < max_splits) {
      while (end < bytes.size() && !IsSpace(CodePointAt(bytes, end))) {
        end += CodePointBytes(bytes[end]);
      }
    } else {
      end = bytes.size();
    }
    words.push_back(Value::Of(text.Slice(begin, end)));
    begin = end + StripLeft(bytes.substr(end), nullptr);
  }
  return words;
}

bool IsLineEnd(char32_t c) {
  return (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 ||
         c == 0x2029;
}

}  // namespace

Text Strip(const Text& text, const std::string_view* characters, Side side) {
  const std::string_view bytes = text.bytes();
  const size_t end = side == Side::kLeft ? bytes.size() : StripRight(bytes, characters);
  const size_t begin = side == Side::kRight ? 0 : StripLeft(bytes.substr(0, end), characters);
  if (begin == 0 && end == bytes.size()) return text;
  return text.Slice(begin, end);
}

std::vector<Value> Split(const Text& text, const std::string_view* separator, int64_t max_splits,
                         bool from_right) {
  const size_t limit = max_splits < 0 ? text.size() + 1 : static_cast<size_t>(max_splits);
  if (separator == nullptr) return SplitWords(text, limit, from_right);
  std::vector<Value> parts;
  size_t begin = 0;
  for (const auto& [cut, cut_end] : FindSeparators(text.bytes(), *separator, limit, from_right)) {
    parts.push_back(Value::Of(text.Slice(begin, cut)));
    begin = cut_end;
  }
  parts.push_back(Value::Of(text.Slice(begin, text.size())));
  return parts;
}

std::vector<Value> SplitLines(const Text& text, bool keep_ends) {
  const std::string_view bytes = text.bytes();
  std::vector<Value> lines;
  size_t begin = 0;
  for (size_t i = 0; i < bytes.size();) {
    const char32_t c = CodePointAt(bytes, i);
    size_t next = i + CodePointBytes(bytes[i]);
    if (IsLineEnd(c)) {
      if (c == '\r' && next < bytes.size() && bytes[next] == '\n') ++next;
      lines.push_back(Value::Of(text.Slice(begin, keep_ends ? next : i)));
      begin = next;
    }
    i = next;
  }
  if (begin < bytes.size()) lines.push_back(Value::Of(text.Slice(begin, bytes.size())));
  return lines;
}

absl::StatusOr<Text> Replace(RenderState& state, const Text& text, std::string_view from,
                             const Text& to, int64_t max_count) {
  const std::string_view bytes = text.bytes();
  const size_t limit = max_count < 0 ? bytes.size() + 1 : static_cast<size_t>(max_count);
  Text out;
  size_t begin = 0;
  size_t search = 0;
  for (size_t count = 0; count < limit; ++count) {
    const size_t at = bytes.find(from, search);
    if (at == std::string_view::npos) break;
    out.Append(text.Slice(begin, at));
    if (to.MainOrigin().message >= 0) {
      out.Append(to);
    } else {
      out.Append(to.bytes(), text.OriginAt(at));
    }
    LIQUID_RETURN_IF_ERROR(state.ChargeAppend(out.size(), at - begin + to.size()));
    begin = at + from.size();
    // An empty pattern stands before every character and at the end.
    search = begin;
    if (from.empty()) {
      if (at >= bytes.size()) break;
      search = at + CodePointBytes(bytes[at]);
    }
  }
  out.Append(text.Slice(begin, bytes.size()));
  LIQUID_RETURN_IF_ERROR(state.ChargeText(out.size()));
  return out;
}

absl::StatusOr<Text> Join(RenderState& state, const std::vector<Value>& items,
                          const Text& separator) {
  Text out;
  for (size_t i = 0; i < items.size(); ++i) {
    if (i > 0) out.Append(separator);
    LIQUID_ASSIGN_OR_RETURN(const Text part, ToText(state, items[i]));
    out.Append(part);
    LIQUID_RETURN_IF_ERROR(state.ChargeAppend(out.size(), part.size() + separator.size()));
  }
  return out;
}

absl::StatusOr<Text> Pad(RenderState& state, const Text& text, int64_t width, Side side,
                         std::string_view fill) {
  const auto size = static_cast<int64_t>(CountCodePoints(text.bytes()));
  if (width <= size) return text;
  if (width > state.limits().max_text_bytes) {
    return state.ChargeText(static_cast<size_t>(width));
  }
  LIQUID_RETURN_IF_ERROR(state.ChargeText(static_cast<size_t>(width) * fill.size()));
  const int64_t total = width - size;
  // Python puts the odd character of an even width to the left, else to the right.
  const int64_t left = side == Side::kLeft    ? 0
                       : side == Side::kRight ? total
                                              : total / 2 + (total & width & 1);
  Text out;
  for (int64_t i = 0; i < left; ++i) out.Append(fill, text.MainOrigin());
  out.Append(text);
  for (int64_t i = left; i < total; ++i) out.Append(fill, text.MainOrigin());
  return out;
}

}  // namespace liquid::jinja
