// Byte pair encoding: splits a word into tokens of a vocabulary by ranked merges.
#ifndef LIQUID_DATA_BPE_H_
#define LIQUID_DATA_BPE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "data/vocabulary.h"
#include "data/word_hash.h"

namespace liquid {

// Two neighbours that become one token, by id.
struct BpeMerge {
  int32_t left;
  int32_t right;
  int32_t merged;
};

// An open-addressing map from a pair of ids to the rank and the result of its merge.
class MergeTable {
 public:
  static constexpr uint64_t kNone = ~0ull;

  // Rank is the place in `merges`. Of equal pairs the last counts, as in the reference.
  explicit MergeTable(const std::vector<BpeMerge>& merges);

  // rank << 32 | merged id, or kNone, which is greater than all.
  uint64_t Find(int32_t left, int32_t right) const {
    const uint64_t key = KeyOf(left, right);
    size_t i = SlotOf(key);
    while (slots_[i].key != key) {
      if (slots_[i].key == kNone) return kNone;
      i = (i + 1) & mask_;
    }
    return slots_[i].value;
  }

  // Asks for the memory that Find() will read.
  void Prefetch(int32_t left, int32_t right) const {
    __builtin_prefetch(&slots_[SlotOf(KeyOf(left, right))]);
  }

 private:
  static uint64_t KeyOf(int32_t left, int32_t right) {
    return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
  }
  struct Slot {
    uint64_t key = kNone;
    uint64_t value = kNone;
  };
  size_t SlotOf(uint64_t key) const {
    const uint64_t mixed = key * 0x9E3779B97F4A7C15u;
    return static_cast<size_t>(mixed ^ mixed >> 32) & mask_;
  }
  std::vector<Slot> slots_;
  size_t mask_ = 0;
};

// What Encode() needs besides the model: buffers, and the words met before. For one thread at a
// time; 4 MiB.
class BpeScratch {
 public:
  BpeScratch();

 private:
  friend class BpeModel;
  static constexpr size_t kMaxCachedIds = 6;
  static constexpr size_t kNumCached = 1 << 16;
  struct CachedWord {
    std::array<uint64_t, 3> key;
    std::array<int32_t, kMaxCachedIds> ids;
    std::array<uint8_t, kMaxCachedIds> begins;
    uint8_t num_bytes = 0;  // 0: empty
    uint8_t num_ids = 0;
  };
  static_assert(sizeof(CachedWord) <= 64, "one line of the processor's cache");
  struct Piece {
    int32_t id;
    uint32_t begin;  // its first byte in the word
  };
  struct Symbol {
    int32_t id;
    uint32_t begin;
    int32_t previous;
    int32_t next;
    uint64_t merge;  // with the next one, as MergeTable::Find gives it
  };
  struct Waiting {
    std::string_view word;
    WordKey key;
    CachedWord* cached = nullptr;  // its place in the cache; null if it is too long
  };
  std::vector<CachedWord> cache_;  // by hash; a word takes the place of the one before
  std::vector<Piece> pieces_;      // the tokens of a word
  std::vector<Symbol> symbols_;
  std::vector<uint64_t> queue_;
  std::array<Waiting, 8> waiting_;  // fewer than all of them between calls
  size_t num_waiting_ = 0;
};

class BpeModel {
 public:
  struct Options {
    bool byte_level = false;     // tokens spell bytes by the alphabet of GPT-2
    bool byte_fallback = false;  // a character that is no token becomes its bytes, "<0x0A>"
    bool fuse_unknown = false;   // neighbours that are unknown become one unknown token
    bool ignore_merges = false;  // a word that is a token is that token
    int32_t unknown_id = Vocabulary::kNone;  // kNone: what is unknown is left out
  };

  // `vocabulary` must outlive the model; the ids in `merges` are its own. InvalidArgument for
  // options that contradict each other.
  static absl::StatusOr<BpeModel> Create(const Vocabulary& vocabulary,
                                         const std::vector<BpeMerge>& merges,
                                         const Options& options);

  // Appends the tokens of `word`, which is not empty, to `ids` and, unless null, the byte of `word`
  // at which each begins to `begins`. Valid UTF-8 shorter than 2 GiB. Any thread, each with its
  // own `scratch`. Source: Sennrich et al. 2016, arXiv:1508.07909.
  void EncodeWord(std::string_view word, BpeScratch* scratch, std::vector<int32_t>* ids,
                  std::vector<uint32_t>* begins) const;

  // As EncodeWord without `begins`, but may leave the last few words for later: their memory comes
  // in meanwhile. They are appended at the latest by EncodeWaiting(), and must live until then.
  void EncodeSoon(std::string_view word, BpeScratch* scratch, std::vector<int32_t>* ids) const;
  void EncodeWaiting(BpeScratch* scratch, std::vector<int32_t>* ids) const;

  // As EncodeWord for a text that was not split into words. Cuts it where no token can reach
  // across, which changes nothing but the time it takes. `begins` counts from the text's start.
  void EncodeText(std::string_view text, BpeScratch* scratch, std::vector<int32_t>* ids,
                  std::vector<uint32_t>* begins) const;

 private:
  static constexpr size_t kFewSymbols = 32;  // up to here a linear search beats a heap
  static constexpr std::string_view kSpaceMark = "\xE2\x96\x81";  // U+2581: sentencepiece's space
  static constexpr size_t kSpaceIndex = 128;
  static constexpr size_t kNoIndex = 256;
  struct FewSymbols;
  BpeModel(const Vocabulary& vocabulary, const std::vector<BpeMerge>& merges,
           const Options& options);
  absl::Status IndexBytes();
  void IndexCharacters(const std::vector<BpeMerge>& merges);
  void IndexFirstMerges();
  // The place of a common character in tables: its byte at byte level, else its ASCII code or
  // kSpaceIndex; kNoIndex for others.
  size_t IndexOf(const char* character) const {
    const auto lead = static_cast<uint8_t>(*character);
    if (options_.byte_level || lead < 0x80) return lead;
    return lead == 0xE2 && std::string_view(character, 3) == kSpaceMark ? kSpaceIndex : kNoIndex;
  }

  static BpeScratch::Waiting Await(std::string_view word, BpeScratch* scratch);
  void Encode(const BpeScratch::Waiting& waiting, BpeScratch* scratch, std::vector<int32_t>* ids,
              std::vector<uint32_t>* begins) const;
  void EncodeUncached(std::string_view word, BpeScratch* scratch) const;
  bool FillFew(std::string_view word, FewSymbols* few) const;
  void MergeFew(FewSymbols* few, std::vector<BpeScratch::Piece>* pieces) const;
  void FillSymbols(std::string_view word, BpeScratch* scratch) const;
  void MergeMany(BpeScratch* scratch) const;
  bool FindMerge(BpeScratch* scratch, int32_t left) const;
  void Link(BpeScratch* scratch, int32_t left) const;
  bool MayCut(std::string_view text, size_t previous, size_t at) const;
  int32_t WholeWord(std::string_view word) const;
  int32_t IdOfCharacter(std::string_view character) const;

  const Vocabulary* vocabulary_;
  Options options_;
  MergeTable merges_;
  std::array<int32_t, 256> byte_ids_;   // byte level: of each byte; else of "<0x..>"
  std::array<int32_t, 256> index_ids_;  // by IndexOf()
  std::vector<uint64_t> first_merges_;  // of two characters, by IndexOf() << 8 | IndexOf()
  Vocabulary whole_words_;              // byte level, if merges are ignored: bytes of tokens
  absl::flat_hash_map<uint32_t, int32_t> character_ids_;
  // Characters that a token has before U+2581, and, by IndexOf() << 8 | IndexOf(), pairs of common
  // characters that a token has side by side or that are no tokens themselves.
  absl::flat_hash_map<uint32_t, bool> joined_to_space_;
  std::vector<bool> joined_;
  bool cuts_text_ = false;
  bool bytes_stand_alone_ = false;  // every unknown character becomes bytes, which never merge
};

// The bytes that `token` spells in the alphabet of GPT-2: printable Latin-1 for itself, U+0100 and
// up for the rest in order. False, and `bytes` of no use, if a character is not of the alphabet.
bool ByteLevelToBytes(std::string_view token, std::string* bytes);

}  // namespace liquid

#endif  // LIQUID_DATA_BPE_H_
