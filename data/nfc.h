// Unicode normalization form C, as the reference tokenizer does it: with the data of Unicode 9.0.
#ifndef LIQUID_DATA_NFC_H_
#define LIQUID_DATA_NFC_H_

#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "data/aligned_text.h"

namespace liquid {

// Source: Unicode Standard Annex 15. Constant after construction: any thread.
class Nfc {
 public:
  Nfc();

  // False if `text` is in the form already, told by its characters alone.
  bool MayChange(std::string_view text) const;

  // The form of `span`. A composed character has the origin of the first of its parts, a
  // character of a decomposition that did not compose again the origin of what was decomposed.
  void Normalize(const TextSpan& span, bool track, AlignedText* out) const;

 private:
  struct Item {
    uint32_t code_point;
    uint8_t combining_class;
    int change;  // 1: added after another; 0: stands for one character; -n: for n more
  };
  bool MayChangeAt(std::string_view text, size_t at) const;
  // Appends the form of `span`, which depends on nothing around it.
  void NormalizeRun(const TextSpan& span, bool track, AlignedText* out) const;
  uint8_t CombiningClass(uint32_t c) const;
  void Decompose(uint32_t c, bool first, std::vector<Item>* items) const;
  std::vector<Item> Compose(const std::vector<Item>& items) const;

  absl::flat_hash_map<uint64_t, uint32_t> composed_;  // first << 32 | second
  std::vector<bool> may_change_;                      // by code point
};

}  // namespace liquid

#endif  // LIQUID_DATA_NFC_H_
