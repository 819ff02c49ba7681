#include "base/hash.h"

#include <openssl/sha.h>
#include <xxh_x86dispatch.h>
#include <xxhash.h>

#include "absl/strings/escaping.h"
#include "absl/strings/str_format.h"
#include "base/check.h"
#include "base/handle.h"

namespace liquid {
namespace {

// The library's plain functions are built for the oldest x86-64; the dispatched ones use what this
// CPU has, and hash three times as many bytes per second.
Hash128 FromXxh(XXH128_hash_t hash) { return {hash.high64, hash.low64}; }

}  // namespace

std::string ToHex(const Hash128& hash) {
  return absl::StrFormat("%016x%016x", hash.high, hash.low);
}

bool FromHex(std::string_view hex, Hash128* hash) {
  if (hex.size() != 32) return false;
  uint64_t halves[2] = {0, 0};
  for (size_t i = 0; i < hex.size(); ++i) {
    const char c = hex[i];
    const bool is_digit = c >= '0' && c <= '9';
    if (!is_digit && !(c >= 'a' && c <= 'f')) return false;
    halves[i / 16] = halves[i / 16] << 4 | static_cast<uint64_t>(is_digit ? c - '0' : c - 'a' + 10);
  }
  *hash = {halves[0], halves[1]};
  return true;
}

Hash128 HashBytes(const void* data, size_t num_bytes, uint64_t seed) {
  return FromXxh(XXH3_128bits_withSeed_dispatch(data, num_bytes, seed));
}

struct Hasher::State {
  Handle<XXH3_state_t*, XXH3_freeState> xxh{XXH3_createState()};
};

Hasher::Hasher() : state_(std::make_unique<State>()) { XXH3_128bits_reset(state_->xxh.get()); }
Hasher::~Hasher() = default;
Hasher::Hasher(Hasher&&) noexcept = default;
Hasher& Hasher::operator=(Hasher&&) noexcept = default;

void Hasher::Update(const void* data, size_t num_bytes) {
  LIQUID_CHECK(XXH3_128bits_update_dispatch(state_->xxh.get(), data, num_bytes) == XXH_OK);
}

Hash128 Hasher::Digest() const { return FromXxh(XXH3_128bits_digest(state_->xxh.get())); }

std::string Sha256Hex(std::string_view bytes) {
  unsigned char digest[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), digest);
  return absl::BytesToHexString(
      absl::string_view(reinterpret_cast<const char*>(digest), sizeof(digest)));
}

}  // namespace liquid
