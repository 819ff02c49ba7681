#include "data/bpe.h"

#include <algorithm>
#include <cstring>
#include <functional>

#include "absl/strings/str_format.h"
#include "base/check.h"
#include "base/status.h"
#include "data/unicode.h"

namespace liquid {
namespace {

constexpr size_t kFewSymbols = 24;       // up to here a linear search beats a heap
constexpr uint32_t kSpaceMark = 0x2581;  // what sentencepiece writes for a space
constexpr std::string_view kSpaceMarkUtf8 = "\xE2\x96\x81";
constexpr uint32_t kRemoved = ~0u;

// The alphabet of GPT-2: the code point for each byte.
std::array<uint32_t, 256> ByteAlphabet() {
  std::array<uint32_t, 256> alphabet;
  uint32_t next = 256;
  for (uint32_t b = 0; b < 256; ++b) {
    const bool printable = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
    alphabet[b] = printable ? b : next++;
  }
  return alphabet;
}

uint64_t HashWord(const char* p, size_t n) {
  uint64_t h = n * 0x9E3779B97F4A7C15u;
  uint64_t w = 0;
  for (; n >= 8; p += 8, n -= 8) {
    std::memcpy(&w, p, 8);
    h = (h ^ w) * 0xFF51AFD7ED558CCDu;
    h ^= h >> 32;
  }
  w = 0;
  std::memcpy(&w, p, n);
  h = (h ^ w) * 0xC4CEB9FE1A85EC53u;
  return h ^ h >> 29;
}

}  // namespace

bool ByteLevelToBytes(std::string_view token, std::string* bytes) {
  static const absl::flat_hash_map<uint32_t, uint8_t> byte_of = [] {
    absl::flat_hash_map<uint32_t, uint8_t> map;
    const std::array<uint32_t, 256> alphabet = ByteAlphabet();
    for (size_t b = 0; b < 256; ++b) map[alphabet[b]] = static_cast<uint8_t>(b);
    return map;
  }();
  bytes->clear();
  for (size_t i = 0; i < token.size(); i += Utf8Length(token[i])) {
    const uint32_t c = DecodeUtf8(&token[i]);
    if (c > 32 && c < 127) {
      bytes->push_back(static_cast<char>(c));
      continue;
    }
    const auto it = byte_of.find(c);
    if (it == byte_of.end()) return false;
    bytes->push_back(static_cast<char>(it->second));
  }
  return true;
}

MergeTable::MergeTable(const std::vector<BpeMerge>& merges) {
  size_t num_slots = 16;
  while (num_slots < merges.size() * 2) num_slots *= 2;
  slots_.resize(num_slots);
  mask_ = num_slots - 1;
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const BpeMerge& merge = merges[rank];
    const uint64_t key = static_cast<uint64_t>(static_cast<uint32_t>(merge.left)) << 32 |
                         static_cast<uint32_t>(merge.right);
    size_t i = SlotOf(key);
    while (slots_[i].key != kNone && slots_[i].key != key) i = (i + 1) & mask_;
    slots_[i] = {key, static_cast<uint64_t>(rank) << 32 | static_cast<uint32_t>(merge.merged)};
  }
}

BpeScratch::BpeScratch() : cache_(kNumCached) {}

BpeModel::BpeModel(const Vocabulary& vocabulary, const std::vector<BpeMerge>& merges,
                   const Options& options)
    : vocabulary_(&vocabulary), options_(options), merges_(merges) {}

absl::StatusOr<BpeModel> BpeModel::Create(const Vocabulary& vocabulary,
                                          const std::vector<BpeMerge>& merges,
                                          const Options& options) {
  BpeModel model(vocabulary, merges, options);
  if (options.byte_level) {
    LIQUID_RETURN_IF_ERROR(model.IndexBytes());
  } else {
    model.IndexCharacters();
  }
  return model;
}

absl::Status BpeModel::IndexBytes() {
  const std::array<uint32_t, 256> alphabet = ByteAlphabet();
  std::string text;
  for (size_t b = 0; b < 256; ++b) {
    text.clear();
    AppendUtf8(alphabet[b], &text);
    byte_ids_[b] = vocabulary_->IdOf(text);
    if (byte_ids_[b] == Vocabulary::kNone && options_.byte_fallback) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "byte_fallback with ByteLevel needs a token for every byte; 0x%02X has none", b));
    }
  }
  if (!options_.ignore_merges) return absl::OkStatus();
  whole_words_.Reserve(vocabulary_->num_tokens(), vocabulary_->num_tokens() * 8);
  for (int32_t id = 0; id < vocabulary_->id_limit(); ++id) {
    if (vocabulary_->Has(id) && ByteLevelToBytes(vocabulary_->TokenOf(id), &text)) {
      LIQUID_RETURN_IF_ERROR(whole_words_.Add(text, id));
    }
  }
  return absl::OkStatus();
}

void BpeModel::IndexCharacters() {
  for (size_t b = 0; b < 256; ++b) {
    byte_ids_[b] = options_.byte_fallback ? vocabulary_->IdOf(absl::StrFormat("<0x%02X>", b))
                                          : Vocabulary::kNone;
  }
  for (int32_t id = 0; id < vocabulary_->id_limit(); ++id) {
    const std::string_view token = vocabulary_->TokenOf(id);
    if (token.empty()) continue;
    if (Utf8Length(token[0]) == token.size()) character_ids_[DecodeUtf8(token.data())] = id;
    for (size_t at = token.find(kSpaceMarkUtf8, 1); at != std::string_view::npos;
         at = token.find(kSpaceMarkUtf8, at + 1)) {
      size_t before = at - 1;
      while (IsContinuation(token[before])) --before;
      joined_to_space_[DecodeUtf8(&token[before])] = true;
    }
  }
  // A space mark that is no token itself could fuse with what is unknown before it; and a text
  // that as a whole is a token must be seen whole.
  cuts_text_ = character_ids_.contains(kSpaceMark) && !options_.ignore_merges;
  joined_to_space_[kSpaceMark] = true;  // runs of spaces stay together: most are tokens
}

int32_t BpeModel::WholeWord(std::string_view word) const {
  return options_.byte_level ? whole_words_.IdOf(word) : vocabulary_->IdOf(word);
}

int32_t BpeModel::IdOfCharacter(std::string_view character) const {
  if (options_.byte_level) return byte_ids_[static_cast<uint8_t>(character[0])];
  const auto it = character_ids_.find(DecodeUtf8(character.data()));
  return it == character_ids_.end() ? Vocabulary::kNone : it->second;
}

// The word as its single characters (bytes, at byte level), not merged yet.
void BpeModel::FillSymbols(std::string_view word, BpeScratch* scratch) const {
  std::vector<BpeScratch::Symbol>& symbols = scratch->symbols_;
  symbols.clear();
  const auto add = [&symbols](int32_t id, size_t begin) {
    symbols.push_back({id, static_cast<uint32_t>(begin), 0, 0, MergeTable::kNone});
  };
  size_t unknown_begin = std::string_view::npos;  // of an unknown token that waits for more
  const auto add_unknown = [&] {
    if (unknown_begin != std::string_view::npos) add(options_.unknown_id, unknown_begin);
    unknown_begin = std::string_view::npos;
  };
  for (size_t i = 0; i < word.size();) {
    const size_t length = options_.byte_level ? 1 : Utf8Length(word[i]);
    const std::string_view character = word.substr(i, length);
    const int32_t id = IdOfCharacter(character);
    if (id != Vocabulary::kNone) {
      add_unknown();
      add(id, i);
    } else if (options_.byte_fallback &&
               std::all_of(character.begin(), character.end(), [this](char c) {
                 return byte_ids_[static_cast<uint8_t>(c)] != Vocabulary::kNone;
               })) {
      // An unknown token that waits comes after these bytes: so does the reference.
      for (size_t k = 0; k < length; ++k) add(byte_ids_[static_cast<uint8_t>(word[i + k])], i + k);
    } else if (options_.unknown_id != Vocabulary::kNone) {
      if (!options_.fuse_unknown) add_unknown();
      if (unknown_begin == std::string_view::npos) unknown_begin = i;
    }
    i += length;
  }
  add_unknown();
}

void BpeModel::MergeFew(BpeScratch* scratch) const {
  std::vector<BpeScratch::Symbol>& symbols = scratch->symbols_;
  size_t n = symbols.size();
  std::array<uint64_t, kFewSymbols> merge;  // of symbol i with the next
  std::array<int32_t, kFewSymbols> id;
  std::array<uint32_t, kFewSymbols> begin;
  for (size_t i = 0; i < n; ++i) {
    id[i] = symbols[i].id;
    begin[i] = symbols[i].begin;
  }
  for (size_t i = 0; i + 1 < n; ++i) merge[i] = merges_.Find(id[i], id[i + 1]);
  while (n > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < n; ++i) {
      if (merge[i] >> 32 < merge[best] >> 32) best = i;
    }
    if (merge[best] == MergeTable::kNone) break;
    id[best] = static_cast<int32_t>(merge[best]);
    --n;
    for (size_t i = best + 1; i < n; ++i) {
      id[i] = id[i + 1];
      begin[i] = begin[i + 1];
      merge[i - 1] = merge[i];
    }
    if (best > 0) merge[best - 1] = merges_.Find(id[best - 1], id[best]);
    if (best + 1 < n) merge[best] = merges_.Find(id[best], id[best + 1]);
  }
  symbols.resize(n);
  for (size_t i = 0; i < n; ++i) {
    symbols[i].id = id[i];
    symbols[i].begin = begin[i];
  }
}

// Looks up the merge of symbol `left` with its next one and queues it.
void BpeModel::Link(BpeScratch* scratch, int32_t left) const {
  if (left < 0) return;
  BpeScratch::Symbol& symbol = scratch->symbols_[static_cast<size_t>(left)];
  symbol.merge =
      symbol.next < 0
          ? MergeTable::kNone
          : merges_.Find(symbol.id, scratch->symbols_[static_cast<size_t>(symbol.next)].id);
  if (symbol.merge == MergeTable::kNone) return;
  scratch->queue_.push_back(symbol.merge >> 32 << 32 | static_cast<uint32_t>(left));
  std::push_heap(scratch->queue_.begin(), scratch->queue_.end(), std::greater<>());
}

void BpeModel::MergeMany(BpeScratch* scratch) const {
  std::vector<BpeScratch::Symbol>& symbols = scratch->symbols_;
  std::vector<uint64_t>& queue = scratch->queue_;  // rank << 32 | symbol, least first
  queue.clear();
  const auto n = static_cast<int32_t>(symbols.size());
  for (int32_t i = 0; i < n; ++i) {
    symbols[static_cast<size_t>(i)].previous = i - 1;
    symbols[static_cast<size_t>(i)].next = i + 1 < n ? i + 1 : -1;
  }
  for (int32_t i = 0; i < n; ++i) Link(scratch, i);
  while (!queue.empty()) {
    std::pop_heap(queue.begin(), queue.end(), std::greater<>());
    const uint64_t entry = queue.back();
    queue.pop_back();
    const auto left = static_cast<int32_t>(static_cast<uint32_t>(entry));
    BpeScratch::Symbol& symbol = symbols[static_cast<size_t>(left)];
    if (symbol.merge == MergeTable::kNone || symbol.merge >> 32 != entry >> 32) continue;  // stale
    BpeScratch::Symbol& right = symbols[static_cast<size_t>(symbol.next)];
    symbol.id = static_cast<int32_t>(symbol.merge);
    symbol.next = right.next;
    right.merge = MergeTable::kNone;
    right.begin = kRemoved;
    if (symbol.next >= 0) symbols[static_cast<size_t>(symbol.next)].previous = left;
    Link(scratch, left);
    Link(scratch, symbol.previous);
  }
  std::erase_if(symbols, [](const BpeScratch::Symbol& s) { return s.begin == kRemoved; });
}

void BpeModel::EncodeWord(std::string_view word, BpeScratch* scratch, std::vector<int32_t>* ids,
                          std::vector<uint32_t>* begins) const {
  LIQUID_CHECK(!word.empty() && word.size() < 1u << 31, "word of ", word.size(), " bytes");
  BpeScratch::CachedWord* cached = nullptr;
  if (word.size() <= BpeScratch::kMaxCachedBytes) {
    cached = &scratch->cache_[HashWord(word.data(), word.size()) & (BpeScratch::kNumCached - 1)];
    if (cached->num_bytes == word.size() &&
        std::memcmp(cached->bytes.data(), word.data(), word.size()) == 0) {
      ids->insert(ids->end(), cached->ids.begin(), cached->ids.begin() + cached->num_ids);
      if (begins != nullptr) {
        begins->insert(begins->end(), cached->begins.begin(),
                       cached->begins.begin() + cached->num_ids);
      }
      return;
    }
  }
  const std::vector<BpeScratch::Symbol>& symbols = scratch->symbols_;
  const int32_t whole = options_.ignore_merges ? WholeWord(word) : Vocabulary::kNone;
  if (whole != Vocabulary::kNone) {
    scratch->symbols_.assign(1, {whole, 0, -1, -1, MergeTable::kNone});
  } else {
    FillSymbols(word, scratch);
    if (symbols.size() <= kFewSymbols) {
      MergeFew(scratch);
    } else {
      MergeMany(scratch);
    }
  }
  for (const BpeScratch::Symbol& symbol : symbols) {
    ids->push_back(symbol.id);
    if (begins != nullptr) begins->push_back(symbol.begin);
  }
  if (cached == nullptr || symbols.size() > BpeScratch::kMaxCachedIds) return;
  cached->num_bytes = static_cast<uint8_t>(word.size());
  cached->num_ids = static_cast<uint8_t>(symbols.size());
  std::memcpy(cached->bytes.data(), word.data(), word.size());
  for (size_t i = 0; i < symbols.size(); ++i) {
    cached->ids[i] = symbols[i].id;
    cached->begins[i] = static_cast<uint8_t>(symbols[i].begin);
  }
}

void BpeModel::EncodeText(std::string_view text, BpeScratch* scratch, std::vector<int32_t>* ids,
                          std::vector<uint32_t>* begins) const {
  size_t done = 0;
  const auto encode = [&](size_t end) {
    const size_t first = begins == nullptr ? 0 : begins->size();
    EncodeWord(text.substr(done, end - done), scratch, ids, begins);
    if (begins != nullptr) {
      for (size_t i = first; i < begins->size(); ++i) (*begins)[i] += static_cast<uint32_t>(done);
    }
    done = end;
  };
  if (cuts_text_) {
    for (size_t at = text.find(kSpaceMarkUtf8, 1); at != std::string_view::npos;
         at = text.find(kSpaceMarkUtf8, at + kSpaceMarkUtf8.size())) {
      size_t before = at - 1;
      while (IsContinuation(text[before])) --before;
      if (!joined_to_space_.contains(DecodeUtf8(&text[before]))) encode(at);
    }
  }
  if (done < text.size()) encode(text.size());
}

}  // namespace liquid
