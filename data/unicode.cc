#include "data/unicode.h"

#include <algorithm>
#include <cstring>
#include <map>

#include "data/unicode_tables.h"

namespace liquid {
namespace {

constexpr size_t kNumCodePoints = 0x110000;
constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

// The allowed second bytes after `lead`, and the length that it announces; length 0: no lead byte.
struct Utf8Form {
  size_t length;
  uint8_t second_min;
  uint8_t second_max;
};

Utf8Form FormOf(uint8_t lead) {
  if (lead < 0xC2) return {0, 0, 0};
  if (lead < 0xE0) return {2, 0x80, 0xBF};
  if (lead == 0xE0) return {3, 0xA0, 0xBF};
  if (lead == 0xED) return {3, 0x80, 0x9F};
  if (lead < 0xF0) return {3, 0x80, 0xBF};
  if (lead == 0xF0) return {4, 0x90, 0xBF};
  if (lead < 0xF4) return {4, 0x80, 0xBF};
  if (lead == 0xF4) return {4, 0x80, 0x8F};
  return {0, 0, 0};
}

// How many bytes at `text` follow the form of its lead byte, which is not ASCII.
size_t MatchedBytes(std::string_view text, const Utf8Form& form) {
  if (form.length == 0) return 0;
  size_t n = 1;
  while (n < form.length && n < text.size()) {
    const auto byte = static_cast<uint8_t>(text[n]);
    const uint8_t low = n == 1 ? form.second_min : 0x80;
    const uint8_t high = n == 1 ? form.second_max : 0xBF;
    if (byte < low || byte > high) break;
    ++n;
  }
  return n;
}

}  // namespace

const CharClassTable& CharClassTable::Get() {
  static const CharClassTable table;
  return table;
}

CharClassTable::CharClassTable() : page_of_(kNumCodePoints >> 8) {
  std::vector<CharClass> flat(kNumCodePoints);
  for (size_t i = 0; i < kNumClassStarts; ++i) {
    const size_t end = i + 1 < kNumClassStarts ? kClassStarts[i + 1] >> 4 : kNumCodePoints;
    std::fill(flat.begin() + (kClassStarts[i] >> 4), flat.begin() + static_cast<ptrdiff_t>(end),
              static_cast<CharClass>(kClassStarts[i] & 15));
  }
  std::map<std::string_view, uint16_t> known;
  for (size_t page = 0; page < page_of_.size(); ++page) {
    const std::string_view content(reinterpret_cast<const char*>(&flat[page * 256]), 256);
    const auto [it, added] = known.emplace(content, static_cast<uint16_t>(cells_.size() / 256));
    if (added) cells_.insert(cells_.end(), &flat[page * 256], &flat[page * 256] + 256);
    page_of_[page] = it->second;
  }
}

void AppendUtf8(uint32_t code_point, std::string* out) {
  const auto put = [out](uint32_t byte) { out->push_back(static_cast<char>(byte)); };
  if (code_point < 0x80) {
    put(code_point);
  } else if (code_point < 0x800) {
    put(0xC0 | code_point >> 6);
    put(0x80 | (code_point & 63));
  } else if (code_point < 0x10000) {
    put(0xE0 | code_point >> 12);
    put(0x80 | (code_point >> 6 & 63));
    put(0x80 | (code_point & 63));
  } else {
    put(0xF0 | code_point >> 18);
    put(0x80 | (code_point >> 12 & 63));
    put(0x80 | (code_point >> 6 & 63));
    put(0x80 | (code_point & 63));
  }
}

size_t ValidUtf8Prefix(std::string_view text) {
  size_t i = 0;
  while (i < text.size()) {
    uint64_t eight = 0;  // ASCII goes by in steps of eight bytes
    if (i + 8 <= text.size()) {
      std::memcpy(&eight, text.data() + i, 8);
      if ((eight & 0x8080808080808080u) == 0) {
        i += 8;
        continue;
      }
    }
    const auto lead = static_cast<uint8_t>(text[i]);
    if (lead < 0x80) {
      ++i;
      continue;
    }
    const Utf8Form form = FormOf(lead);
    if (form.length == 0 || MatchedBytes(text.substr(i), form) < form.length) return i;
    i += form.length;
  }
  return i;
}

size_t InvalidUtf8Length(std::string_view text, bool* truncated) {
  const Utf8Form form = FormOf(static_cast<uint8_t>(text[0]));
  const size_t matched = MatchedBytes(text, form);
  *truncated = matched > 0 && matched == text.size();
  return std::max<size_t>(matched, 1);
}

std::string ReplaceInvalidUtf8(std::string_view text, std::vector<size_t>* origins) {
  std::string out;
  out.reserve(text.size());
  if (origins != nullptr) origins->clear();
  size_t i = 0;
  for (;;) {
    const size_t valid = ValidUtf8Prefix(text.substr(i));
    out.append(text.substr(i, valid));
    if (origins != nullptr) {
      for (size_t k = 0; k < valid; ++k) origins->push_back(i + k);
    }
    i += valid;
    if (i == text.size()) break;
    out.append(kReplacement);
    if (origins != nullptr) origins->insert(origins->end(), kReplacement.size(), i);
    bool truncated = false;
    i += InvalidUtf8Length(text.substr(i), &truncated);
  }
  if (origins != nullptr) origins->push_back(text.size());
  return out;
}

}  // namespace liquid
