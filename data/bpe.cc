#include "data/bpe.h"

#include <algorithm>
#include <cstring>
#include <functional>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_format.h"
#include "base/check.h"
#include "base/status.h"
#include "data/unicode.h"
#include "data/word_hash.h"

namespace liquid {
namespace {

constexpr uint32_t kSpaceMarkCode = 0x2581;
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

// A short word on its way to tokens.
struct BpeModel::FewSymbols {
  size_t num = 0;
  std::array<int32_t, kFewSymbols> id;
  std::array<uint32_t, kFewSymbols> begin;  // first byte in the word
  std::array<uint64_t, kFewSymbols> merge;  // with the next symbol
};

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
    model.IndexCharacters(merges);
  }
  model.IndexFirstMerges();
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

void BpeModel::IndexCharacters(const std::vector<BpeMerge>& merges) {
  for (size_t b = 0; b < 256; ++b) {
    byte_ids_[b] = options_.byte_fallback ? vocabulary_->IdOf(absl::StrFormat("<0x%02X>", b))
                                          : Vocabulary::kNone;
  }
  bytes_stand_alone_ = options_.byte_fallback && std::find(byte_ids_.begin(), byte_ids_.end(),
                                                           Vocabulary::kNone) == byte_ids_.end();
  const absl::flat_hash_set<int32_t> byte_ids(byte_ids_.begin(), byte_ids_.end());
  for (const BpeMerge& merge : merges) {
    if (!bytes_stand_alone_) break;
    bytes_stand_alone_ = !byte_ids.contains(merge.left) && !byte_ids.contains(merge.right);
  }
  joined_.resize(kNoIndex << 8);
  for (int32_t id = 0; id < vocabulary_->id_limit(); ++id) {
    const std::string_view token = vocabulary_->TokenOf(id);
    if (token.empty()) continue;
    if (Utf8Length(token[0]) == token.size()) character_ids_[DecodeUtf8(token.data())] = id;
    size_t left = 0;
    for (size_t right = Utf8Length(token[0]); right < token.size();
         left = right, right += Utf8Length(token[right])) {
      const size_t left_index = IndexOf(&token[left]);
      const size_t right_index = IndexOf(&token[right]);
      if (left_index != kNoIndex && right_index != kNoIndex) {
        joined_[left_index << 8 | right_index] = true;
      } else if (right_index == kSpaceIndex) {
        joined_to_space_[DecodeUtf8(&token[left])] = true;
      }
    }
  }
  // A space mark that is no token itself could fuse with what is unknown before it; and a text
  // that as a whole is a token must be seen whole.
  cuts_text_ = character_ids_.contains(kSpaceMarkCode) && !options_.ignore_merges;
  joined_[kSpaceIndex << 8 | kSpaceIndex] = true;  // runs of spaces stay together: most are tokens
  for (size_t a = 0; a < kSpaceIndex; ++a) {
    if (bytes_stand_alone_ || character_ids_.contains(static_cast<uint32_t>(a))) continue;
    for (size_t b = 0; b <= kSpaceIndex; ++b) joined_[a << 8 | b] = joined_[b << 8 | a] = true;
  }
}

// Most merges are of a word's single characters: a small table spares the large one.
void BpeModel::IndexFirstMerges() {
  index_ids_.fill(Vocabulary::kNone);
  if (options_.byte_level) {
    index_ids_ = byte_ids_;
  } else {
    for (size_t i = 0; i <= kSpaceIndex; ++i) {
      const auto it =
          character_ids_.find(i == kSpaceIndex ? kSpaceMarkCode : static_cast<uint32_t>(i));
      if (it != character_ids_.end()) index_ids_[i] = it->second;
    }
  }
  first_merges_.assign(kNoIndex << 8, MergeTable::kNone);
  for (size_t a = 0; a < index_ids_.size(); ++a) {
    for (size_t b = 0; b < index_ids_.size(); ++b) {
      if (index_ids_[a] == Vocabulary::kNone || index_ids_[b] == Vocabulary::kNone) continue;
      first_merges_[a << 8 | b] = merges_.Find(index_ids_[a], index_ids_[b]);
    }
  }
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

// The characters of `word` as symbols. False, and the rest of no use, if there are more than
// kFewSymbols, or some that become unknown tokens.
bool BpeModel::FillFew(std::string_view word, FewSymbols* few) const {
  size_t n = 0;
  size_t last_index = kNoIndex;
  for (size_t at = 0; at < word.size();) {
    const size_t length = options_.byte_level ? 1 : Utf8Length(word[at]);
    if (n + length > kFewSymbols) return false;
    const size_t index = IndexOf(&word[at]);
    const int32_t id =
        index == kNoIndex ? IdOfCharacter(word.substr(at, length)) : index_ids_[index];
    if (id == Vocabulary::kNone) {
      if (!bytes_stand_alone_) return false;
      for (size_t k = 0; k < length; ++k, ++n) {
        if (n > 0) few->merge[n - 1] = MergeTable::kNone;
        few->id[n] = byte_ids_[static_cast<uint8_t>(word[at + k])];
        few->begin[n] = static_cast<uint32_t>(at + k);
      }
      last_index = kNoIndex;
    } else {
      if (n > 0) {
        few->merge[n - 1] = index == kNoIndex || last_index == kNoIndex
                                ? merges_.Find(few->id[n - 1], id)
                                : first_merges_[last_index << 8 | index];
      }
      few->id[n] = id;
      few->begin[n++] = static_cast<uint32_t>(at);
      last_index = index;
    }
    at += length;
  }
  few->num = n;
  return true;
}

// Merges by a search of all pairs each time. What is merged into the symbol before it stays in
// place, but its pair is kNone, and the links go around it.
void BpeModel::MergeFew(FewSymbols* few, std::vector<BpeScratch::Piece>* pieces) const {
  const size_t n = few->num;
  std::array<uint8_t, kFewSymbols> next;
  std::array<uint8_t, kFewSymbols> previous;
  for (size_t i = 0; i < n; ++i) {
    next[i] = static_cast<uint8_t>(i + 1);
    previous[i] = static_cast<uint8_t>(i - 1);
  }
  // Asks for the memory that will be read if symbol i merges with the next one.
  const auto prefetch = [&](size_t i) {
    if (few->merge[i] == MergeTable::kNone) return;
    const auto merged = static_cast<int32_t>(few->merge[i]);
    const size_t after = next[next[i]];
    if (i > 0) merges_.Prefetch(few->id[previous[i]], merged);
    if (after < n) merges_.Prefetch(merged, few->id[after]);
  };
  for (size_t i = 0; i + 1 < n; ++i) prefetch(i);
  while (n > 1) {
    size_t best = 0;
    uint64_t least = few->merge[0];
    for (size_t i = 1; i + 1 < n; ++i) {
      best = few->merge[i] < least ? i : best;
      least = std::min(least, few->merge[i]);
    }
    if (least == MergeTable::kNone) break;
    few->id[best] = static_cast<int32_t>(least);
    const size_t removed = next[best];
    next[best] = next[removed];
    if (removed + 1 < n) few->merge[removed] = MergeTable::kNone;
    if (next[best] < n) {
      previous[next[best]] = static_cast<uint8_t>(best);
      few->merge[best] = merges_.Find(few->id[best], few->id[next[best]]);
      prefetch(best);
    } else {
      few->merge[best] = MergeTable::kNone;
    }
    if (best > 0) {
      const size_t before = previous[best];
      few->merge[before] = merges_.Find(few->id[before], few->id[best]);
      prefetch(before);
    }
  }
  pieces->clear();
  for (size_t i = 0; i < n; i = next[i]) pieces->push_back({few->id[i], few->begin[i]});
}

// Looks up the merge of symbol `left` with its next one and appends it to the queue.
bool BpeModel::FindMerge(BpeScratch* scratch, int32_t left) const {
  BpeScratch::Symbol& symbol = scratch->symbols_[static_cast<size_t>(left)];
  symbol.merge =
      symbol.next < 0
          ? MergeTable::kNone
          : merges_.Find(symbol.id, scratch->symbols_[static_cast<size_t>(symbol.next)].id);
  if (symbol.merge == MergeTable::kNone) return false;
  scratch->queue_.push_back(symbol.merge >> 32 << 32 | static_cast<uint32_t>(left));
  return true;
}

void BpeModel::Link(BpeScratch* scratch, int32_t left) const {
  if (left < 0 || !FindMerge(scratch, left)) return;
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
  for (int32_t i = 0; i < n; ++i) FindMerge(scratch, i);
  std::make_heap(queue.begin(), queue.end(), std::greater<>());
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
  scratch->pieces_.clear();
  for (const BpeScratch::Symbol& symbol : symbols) {
    if (symbol.begin != kRemoved) scratch->pieces_.push_back({symbol.id, symbol.begin});
  }
}

// Leaves the tokens of `word` in the scratch memory's pieces.
void BpeModel::EncodeUncached(std::string_view word, BpeScratch* scratch) const {
  const int32_t whole = options_.ignore_merges ? WholeWord(word) : Vocabulary::kNone;
  if (whole != Vocabulary::kNone) {
    scratch->pieces_.assign(1, {whole, 0});
    return;
  }
  FewSymbols few;
  if (FillFew(word, &few)) {
    MergeFew(&few, &scratch->pieces_);
  } else {
    FillSymbols(word, scratch);
    MergeMany(scratch);
  }
}

BpeScratch::Waiting BpeModel::Await(std::string_view word, BpeScratch* scratch) {
  LIQUID_CHECK(!word.empty() && word.size() < 1u << 31, "word of ", word.size(), " bytes");
  BpeScratch::Waiting waiting{word, WordKey(), nullptr};
  if (word.size() > WordKey::kMaxBytes) return waiting;
  waiting.key = WordKey(word);
  waiting.cached = &scratch->cache_[waiting.key.Hash() >> 48];
  return waiting;
}

void BpeModel::Encode(const BpeScratch::Waiting& waiting, BpeScratch* scratch,
                      std::vector<int32_t>* ids, std::vector<uint32_t>* begins) const {
  BpeScratch::CachedWord* cached = waiting.cached;
  const WordKey& key = waiting.key;
  if (cached != nullptr && cached->num_bytes == key.num_bytes && cached->key[0] == key.first &&
      cached->key[1] == key.middle && cached->key[2] == key.last) {
    for (size_t i = 0; i < cached->num_ids; ++i) ids->push_back(cached->ids[i]);
    if (begins == nullptr) return;
    for (size_t i = 0; i < cached->num_ids; ++i) begins->push_back(cached->begins[i]);
    return;
  }
  EncodeUncached(waiting.word, scratch);
  const std::vector<BpeScratch::Piece>& pieces = scratch->pieces_;
  for (const BpeScratch::Piece& piece : pieces) {
    ids->push_back(piece.id);
    if (begins != nullptr) begins->push_back(piece.begin);
  }
  if (cached == nullptr || pieces.size() > BpeScratch::kMaxCachedIds) return;
  cached->key = {key.first, key.middle, key.last};
  cached->num_bytes = static_cast<uint8_t>(key.num_bytes);
  cached->num_ids = static_cast<uint8_t>(pieces.size());
  for (size_t i = 0; i < pieces.size(); ++i) {
    cached->ids[i] = pieces[i].id;
    cached->begins[i] = static_cast<uint8_t>(pieces[i].begin);
  }
}

void BpeModel::EncodeWord(std::string_view word, BpeScratch* scratch, std::vector<int32_t>* ids,
                          std::vector<uint32_t>* begins) const {
  Encode(Await(word, scratch), scratch, ids, begins);
}

void BpeModel::EncodeSoon(std::string_view word, BpeScratch* scratch,
                          std::vector<int32_t>* ids) const {
  BpeScratch::Waiting& waiting = scratch->waiting_[scratch->num_waiting_++];
  waiting = Await(word, scratch);
  if (waiting.cached != nullptr) __builtin_prefetch(waiting.cached);
  if (scratch->num_waiting_ == scratch->waiting_.size()) EncodeWaiting(scratch, ids);
}

void BpeModel::EncodeWaiting(BpeScratch* scratch, std::vector<int32_t>* ids) const {
  for (size_t i = 0; i < scratch->num_waiting_; ++i) {
    Encode(scratch->waiting_[i], scratch, ids, nullptr);
  }
  scratch->num_waiting_ = 0;
}

void BpeModel::EncodeText(std::string_view text, BpeScratch* scratch, std::vector<int32_t>* ids,
                          std::vector<uint32_t>* begins) const {
  size_t done = 0;
  const auto encode = [&](size_t end) {
    const std::string_view piece = text.substr(done, end - done);
    if (begins == nullptr) {
      EncodeSoon(piece, scratch, ids);
    } else {
      const size_t first = begins->size();
      EncodeWord(piece, scratch, ids, begins);
      for (size_t i = first; i < begins->size(); ++i) (*begins)[i] += static_cast<uint32_t>(done);
    }
    done = end;
  };
  if (cuts_text_) {
    const char* left = text.data();
    size_t left_index = IndexOf(left);
    for (size_t at = Utf8Length(text[0]); at < text.size(); at += Utf8Length(text[at])) {
      const size_t right_index = IndexOf(&text[at]);
      if (MayCut(left_index, right_index, left)) encode(at);
      left = &text[at];
      left_index = right_index;
    }
  }
  if (done < text.size()) encode(text.size());
  EncodeWaiting(scratch, ids);
}

}  // namespace liquid
