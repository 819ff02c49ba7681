#include "checkpoint/checksum.h"

#include <array>

namespace liquid {

Hash128 CombineHashes(absl::Span<const Hash128> hashes) {
  Hasher hasher;
  for (const Hash128& hash : hashes) {
    std::array<unsigned char, 16> bytes;
    for (size_t i = 0; i < 8; ++i) {
      bytes[i] = static_cast<unsigned char>(hash.high >> (56 - 8 * i));
      bytes[8 + i] = static_cast<unsigned char>(hash.low >> (56 - 8 * i));
    }
    hasher.Update(bytes.data(), bytes.size());
  }
  return hasher.Digest();
}

}  // namespace liquid
