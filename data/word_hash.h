// Words as a few machine words: how they are hashed and compared.
#ifndef LIQUID_DATA_WORD_HASH_H_
#define LIQUID_DATA_WORD_HASH_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace liquid {

// Two words of at most kMaxBytes bytes are equal if and only if their keys are.
struct WordKey {
  static constexpr size_t kMaxBytes = 24;

  uint64_t first = 0;
  uint64_t middle = 0;
  uint64_t last = 0;
  uint64_t num_bytes = 0;

  WordKey() = default;
  // REQUIRES: `word` has 1 to kMaxBytes bytes. Reads no other bytes than those.
  explicit WordKey(std::string_view word) : num_bytes(word.size()) {
    const char* p = word.data();
    const char* end = p + word.size();
    if (num_bytes >= 8) {
      first = Load<uint64_t>(p);
      last = Load<uint64_t>(end - 8);
      if (num_bytes > 16) middle = Load<uint64_t>(p + 8);
    } else if (num_bytes >= 4) {
      first = Load<uint32_t>(p);
      last = Load<uint32_t>(end - 4);
    } else {
      first = static_cast<uint64_t>(Load<uint8_t>(p)) |
              static_cast<uint64_t>(Load<uint8_t>(p + num_bytes / 2)) << 8 |
              static_cast<uint64_t>(Load<uint8_t>(end - 1)) << 16;
    }
  }

  // Its high bits are the good ones.
  uint64_t Hash() const {
    uint64_t h = first * 0x9E3779B97F4A7C15u + middle * 0xC2B2AE3D27D4EB4Fu +
                 last * 0x165667B19E3779F9u + num_bytes * 0x27D4EB2F165667C5u;
    h ^= h >> 32;
    return h * 0xFF51AFD7ED558CCDu;
  }

  friend bool operator==(const WordKey&, const WordKey&) = default;

 private:
  template <typename T>
  static T Load(const char* p) {
    T value;
    std::memcpy(&value, p, sizeof(value));
    return value;
  }
};

// A hash of any text; not against an adversary. Its high bits are the good ones.
inline uint64_t HashWord(std::string_view text) {
  uint64_t h = text.size() * 0x9E3779B97F4A7C15u;
  for (; text.size() > WordKey::kMaxBytes; text.remove_prefix(8)) {
    uint64_t w = 0;
    std::memcpy(&w, text.data(), 8);
    h = (h ^ w) * 0xC4CEB9FE1A85EC53u;
    h ^= h >> 29;
  }
  return text.empty() ? h : (h ^ WordKey(text).Hash()) * 0xFF51AFD7ED558CCDu;
}

}  // namespace liquid

#endif  // LIQUID_DATA_WORD_HASH_H_
