#include "data/nfc.h"

#include <algorithm>

#include "data/unicode.h"
#include "data/unicode_tables.h"

namespace liquid {
namespace {

// Hangul syllables compose by arithmetic: The Unicode Standard, 3.12.
constexpr uint32_t kSyllables = 0xAC00;
constexpr uint32_t kLeads = 0x1100;
constexpr uint32_t kVowels = 0x1161;
constexpr uint32_t kTails = 0x11A7;  // one before the first
constexpr uint32_t kNumLeads = 19;
constexpr uint32_t kNumVowels = 21;
constexpr uint32_t kNumTails = 28;
constexpr uint32_t kNumSyllables = kNumLeads * kNumVowels * kNumTails;

constexpr uint8_t kFirstLeadThatMayChange = 0xCC;  // of U+0300, the first combining mark

// 0 if the two do not compose.
uint32_t ComposeHangul(uint32_t first, uint32_t second) {
  if (first - kLeads < kNumLeads && second - kVowels < kNumVowels) {
    return kSyllables + ((first - kLeads) * kNumVowels + (second - kVowels)) * kNumTails;
  }
  if (first - kSyllables < kNumSyllables && (first - kSyllables) % kNumTails == 0 &&
      second > kTails && second < kTails + kNumTails) {
    return first + (second - kTails);
  }
  return 0;
}

}  // namespace

Nfc::Nfc() : may_change_(0x110000, false) {
  for (size_t i = 0; i < kNumCombiningClassStarts; ++i) {
    if ((kCombiningClassStarts[i] & 255) == 0) continue;
    const uint32_t end = kCombiningClassStarts[i + 1] >> 8;  // the last run is of class 0
    for (uint32_t c = kCombiningClassStarts[i] >> 8; c < end; ++c) may_change_[c] = true;
  }
  for (size_t i = 0; i < kNumDecompositions; i += 3) {
    const uint32_t c = kDecompositions[i] >> 1;
    if ((kDecompositions[i] & 1) != 0) {
      may_change_[c] = true;
    } else {
      const uint64_t first = kDecompositions[i + 1];
      composed_[first << 32 | kDecompositions[i + 2]] = c;
      may_change_[kDecompositions[i + 2]] = true;
    }
  }
  for (uint32_t c = kVowels; c < kVowels + kNumVowels; ++c) may_change_[c] = true;
  for (uint32_t c = kTails + 1; c < kTails + kNumTails; ++c) may_change_[c] = true;
}

bool Nfc::MayChangeAt(std::string_view text, size_t at) const {
  return static_cast<uint8_t>(text[at]) >= kFirstLeadThatMayChange &&
         may_change_[DecodeUtf8(&text[at])];
}

bool Nfc::MayChange(std::string_view text) const {
  for (size_t i = 0; i < text.size();) {
    if (static_cast<uint8_t>(text[i]) < kFirstLeadThatMayChange) {
      ++i;  // a continuation byte goes by here too
      continue;
    }
    if (may_change_[DecodeUtf8(&text[i])]) return true;
    i += Utf8Length(text[i]);
  }
  return false;
}

uint8_t Nfc::CombiningClass(uint32_t c) const {
  const uint32_t* end = kCombiningClassStarts + kNumCombiningClassStarts;
  return static_cast<uint8_t>(*(std::upper_bound(kCombiningClassStarts, end, c << 8 | 255) - 1));
}

void Nfc::Decompose(uint32_t c, bool first, std::vector<Item>* items) const {
  if (c - kSyllables < kNumSyllables) {
    const uint32_t syllable = c - kSyllables;
    items->push_back({kLeads + syllable / (kNumVowels * kNumTails), 0, first ? 0 : 1});
    items->push_back({kVowels + syllable % (kNumVowels * kNumTails) / kNumTails, 0, 1});
    if (syllable % kNumTails != 0) items->push_back({kTails + syllable % kNumTails, 0, 1});
    return;
  }
  size_t low = 0;
  size_t high = kNumDecompositions / 3;
  while (low < high) {
    const size_t middle = (low + high) / 2;
    if (kDecompositions[middle * 3] >> 1 < c) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  if (low == kNumDecompositions / 3 || kDecompositions[low * 3] >> 1 != c) {
    items->push_back({c, CombiningClass(c), first ? 0 : 1});
    return;
  }
  Decompose(kDecompositions[low * 3 + 1], first, items);
  if (kDecompositions[low * 3 + 2] != 0) Decompose(kDecompositions[low * 3 + 2], false, items);
}

std::vector<Nfc::Item> Nfc::Compose(const std::vector<Item>& items) const {
  std::vector<Item> out;
  ptrdiff_t starter = -1;
  int last_class = -1;  // of what stands between the starter and this; -1: nothing does
  for (const Item& item : items) {
    if (starter >= 0 && last_class < static_cast<int>(item.combining_class)) {
      Item& base = out[static_cast<size_t>(starter)];
      uint32_t composed = ComposeHangul(base.code_point, item.code_point);
      if (composed == 0) {
        const auto it =
            composed_.find(static_cast<uint64_t>(base.code_point) << 32 | item.code_point);
        if (it != composed_.end()) composed = it->second;
      }
      if (composed != 0) {
        base.code_point = composed;
        base.change += item.change - 1;
        continue;
      }
    }
    out.push_back(item);
    if (item.combining_class == 0) {
      starter = static_cast<ptrdiff_t>(out.size()) - 1;
      last_class = -1;
    } else {
      last_class = item.combining_class;
    }
  }
  return out;
}

void Nfc::Normalize(const TextSpan& span, bool track, AlignedText* out) const {
  out->Clear(span.base, track);
  const std::string_view text = span.text;
  size_t done = 0;
  size_t previous = 0;  // the character before `at`, which may compose with what follows it
  for (size_t at = 0; at < text.size();) {
    if (!MayChangeAt(text, at)) {
      previous = at;
      at += Utf8Length(text[at]);
      continue;
    }
    while (at < text.size() && MayChangeAt(text, at)) at += Utf8Length(text[at]);
    out->Append(span.Sub(done, previous));
    NormalizeRun(span.Sub(previous, at), track, out);
    done = previous = at;
  }
  out->Append(span.Sub(done, text.size()));
}

void Nfc::NormalizeRun(const TextSpan& span, bool track, AlignedText* out) const {
  std::vector<Item> items;
  std::vector<size_t> starts;  // of the characters of `span`
  for (size_t i = 0; i < span.text.size(); i += Utf8Length(span.text[i])) {
    starts.push_back(i);
    Decompose(DecodeUtf8(&span.text[i]), true, &items);
  }
  for (auto it = items.begin(); it != items.end();) {
    if (it->combining_class == 0) {
      ++it;
      continue;
    }
    const auto end =
        std::find_if(it, items.end(), [](const Item& item) { return item.combining_class == 0; });
    std::stable_sort(it, end, [](const Item& a, const Item& b) {
      return a.combining_class < b.combining_class;
    });
    it = end;
  }
  size_t next = 0;  // of the characters of `span`: the first that no output stands for yet
  std::string bytes;
  for (const Item& item : Compose(items)) {
    bytes.clear();
    AppendUtf8(item.code_point, &bytes);
    ByteRange origin{span.Start(), span.Start()};
    if (track && (item.change <= 0 || next > 0)) {
      origin = span.OriginOfByte(item.change <= 0 ? starts[next] : starts[next - 1]);
    }
    out->Append(bytes, origin);
    next += static_cast<size_t>(1 - item.change);
  }
}

}  // namespace liquid
