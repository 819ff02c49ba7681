#include "data/merge_table.h"

namespace liquid {

MergeTable::MergeTable(const std::vector<BpeMerge>& merges) {
  size_t num_slots = 16;
  while (num_slots < merges.size() * 2) num_slots *= 2;
  slots_.resize(num_slots);
  mask_ = num_slots - 1;
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const BpeMerge& merge = merges[rank];
    const uint64_t key = KeyOf(merge.left, merge.right);
    size_t i = SlotOf(key);
    while (slots_[i].key != kNone && slots_[i].key != key) i = (i + 1) & mask_;
    slots_[i] = {key, static_cast<uint64_t>(rank) << 32 | static_cast<uint32_t>(merge.merged)};
  }
}

}  // namespace liquid
