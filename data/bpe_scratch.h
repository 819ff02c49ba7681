// What byte pair encoding needs besides its model.
#ifndef LIQUID_DATA_BPE_SCRATCH_H_
#define LIQUID_DATA_BPE_SCRATCH_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "data/word_hash.h"

namespace liquid {

// Buffers, and the words met before. For one thread at a time; 4 MiB.
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

}  // namespace liquid

#endif  // LIQUID_DATA_BPE_SCRATCH_H_
