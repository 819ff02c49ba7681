// The token strings of a model and their ids, both ways.
#ifndef LIQUID_DATA_VOCABULARY_H_
#define LIQUID_DATA_VOCABULARY_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"

namespace liquid {

// A bijection of strings and ids. The ids may have holes, but lie in [0, kMaxId].
class Vocabulary {
 public:
  // Ten times the largest vocabulary known. The limit keeps a hostile file from taking memory.
  static constexpr int64_t kMaxId = (1 << 22) - 1;
  static constexpr int32_t kNone = -1;

  // Room for `num_tokens` of `num_bytes` together; more may come.
  void Reserve(size_t num_tokens, size_t num_bytes);
  // InvalidArgument if the token or the id is there already or the id is out of range.
  absl::Status Add(std::string_view token, int64_t id);

  // kNone if there is none.
  int32_t IdOf(std::string_view token) const;
  // The same for each of `tokens`, at most kMaxBatch, faster than one by one. `ids` has room for
  // all.
  static constexpr size_t kMaxBatch = 96;
  void IdsOf(absl::Span<const std::string_view> tokens, int32_t* ids) const;
  bool Has(int32_t id) const {
    return id >= 0 && id < id_limit() && places_[static_cast<size_t>(id)].length != kHole;
  }
  // "" if there is none. Valid until the next Add().
  std::string_view TokenOf(int32_t id) const {
    if (!Has(id)) return {};
    const Place& place = places_[static_cast<size_t>(id)];
    return std::string_view(bytes_).substr(place.begin, place.length);
  }
  int32_t id_limit() const { return static_cast<int32_t>(places_.size()); }  // highest id + 1
  size_t num_tokens() const { return num_tokens_; }

 private:
  static constexpr uint32_t kHole = ~0u;
  struct Place {
    size_t begin = 0;
    uint32_t length = kHole;
  };
  struct Slot {
    uint32_t hash = 0;
    int32_t id = kNone;
  };
  void Rehash(size_t num_slots);
  size_t FindSlot(std::string_view token, uint32_t hash) const;

  std::string bytes_;
  std::vector<Place> places_;  // by id
  std::vector<Slot> slots_;    // open addressing, at most half full, a power of two of them
  size_t num_tokens_ = 0;
};

}  // namespace liquid

#endif  // LIQUID_DATA_VOCABULARY_H_
