// The merges of byte pair encoding.
#ifndef LIQUID_DATA_MERGE_TABLE_H_
#define LIQUID_DATA_MERGE_TABLE_H_

#include <cstddef>
#include <cstdint>
#include <vector>

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

}  // namespace liquid

#endif  // LIQUID_DATA_MERGE_TABLE_H_
