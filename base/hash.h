// Hashes: XXH3-128 for content (fast, not against an adversary) and SHA-256 for the ledger's chain.
#ifndef LIQUID_BASE_HASH_H_
#define LIQUID_BASE_HASH_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace liquid {

// 128 bits of a hash. XOR of two is how parts that may come in any order are combined.
struct Hash128 {
  uint64_t high = 0;
  uint64_t low = 0;

  friend bool operator==(const Hash128&, const Hash128&) = default;
  Hash128& operator^=(const Hash128& other) {
    high ^= other.high;
    low ^= other.low;
    return *this;
  }
};

// 32 lower-case hexadecimal digits, high half first; and back (false if `hex` is not that).
std::string ToHex(const Hash128& hash);
bool FromHex(std::string_view hex, Hash128* hash);

// XXH3-128 of `num_bytes` at `data`. Source: xxHash specification, XXH3.
Hash128 HashBytes(const void* data, size_t num_bytes, uint64_t seed = 0);
inline Hash128 HashBytes(std::string_view bytes, uint64_t seed = 0) {
  return HashBytes(bytes.data(), bytes.size(), seed);
}

// XXH3-128 of a stream of pieces: equal to HashBytes of their concatenation.
class Hasher {
 public:
  Hasher();
  ~Hasher();
  Hasher(Hasher&&) noexcept;
  Hasher& operator=(Hasher&&) noexcept;

  void Update(const void* data, size_t num_bytes);
  void Update(std::string_view bytes) { Update(bytes.data(), bytes.size()); }
  Hash128 Digest() const;  // of everything so far; more may follow

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// SHA-256 of `bytes` as 64 lower-case hexadecimal digits. Source: FIPS 180-4.
std::string Sha256Hex(std::string_view bytes);

}  // namespace liquid

#endif  // LIQUID_BASE_HASH_H_
