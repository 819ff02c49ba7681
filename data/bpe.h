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
#include "data/bpe_scratch.h"
#include "data/merge_table.h"
#include "data/unicode.h"
#include "data/vocabulary.h"

namespace liquid {

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
    const bool is_space_mark =
        lead == 0xE2 && character[1] == kSpaceMark[1] && character[2] == kSpaceMark[2];
    return is_space_mark ? kSpaceIndex : kNoIndex;
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
  // Whether no token reaches from the character `left` to the next one; their IndexOf().
  bool MayCut(size_t left_index, size_t right_index, const char* left) const {
    if (left_index != kNoIndex && right_index != kNoIndex) {
      return !joined_[left_index << 8 | right_index];
    }
    return right_index == kSpaceIndex && !joined_to_space_.contains(DecodeUtf8(left));
  }
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
