#include "checkpoint/fingerprint.h"

#include <algorithm>
#include <bit>
#include <numeric>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/check.h"
#include "base/mutex.h"
#include "base/status.h"
#include "checkpoint/hf_directory.h"
#include "checkpoint/parallel_loop.h"

namespace liquid {

int64_t FingerprintChunksOfRow(int64_t length) { return std::gcd(length, int64_t{24}); }

FingerprintKey::FingerprintKey(const TensorSpec& spec) {
  const std::string_view dtype = DTypeName(spec.dtype);
  std::string text = spec.name;
  text += '\0';
  text += dtype;
  text += '\0';
  text += absl::StrJoin(spec.shape, ",");
  key_ = HashBytes(text);
  const absl::StatusOr<int64_t> num_bytes = TensorNumBytes(spec.dtype, spec.shape);
  LIQUID_CHECK(num_bytes.ok(), num_bytes.status().ToString());
  tensor_bytes_ = *num_bytes;
  const int64_t row = spec.shape.empty() ? 1 : spec.shape.back();
  const int64_t chunk = row == 0 ? 0 : row / FingerprintChunksOfRow(row);
  chunk_bytes_ = std::max<int64_t>(1, chunk * SizeOf(spec.dtype));
}

Hash128 FingerprintKey::HashPart(int64_t first_byte, const void* bytes, int64_t num_bytes) const {
  LIQUID_CHECK(first_byte % chunk_bytes_ == 0 && num_bytes % chunk_bytes_ == 0 && first_byte >= 0 &&
                   num_bytes >= 0 && first_byte + num_bytes <= tensor_bytes_,
               "first_byte=", first_byte, " num_bytes=", num_bytes, " of ", tensor_bytes_);
  static_assert(std::endian::native == std::endian::little);
  struct {
    Hash128 key;
    uint64_t chunk;
  } seed_text = {key_, static_cast<uint64_t>(first_byte / chunk_bytes_)};
  static_assert(sizeof(seed_text) == 24);
  Hash128 sum;
  int64_t done = 0;
  do {
    const int64_t size = std::min(chunk_bytes_, num_bytes - done);
    const uint64_t seed = HashBytes(&seed_text, sizeof(seed_text)).low;
    sum ^= HashBytes(static_cast<const std::byte*>(bytes) + done, static_cast<size_t>(size), seed);
    ++seed_text.chunk;
    done += size;
  } while (done < num_bytes);
  return sum;
}

Hash128 FingerprintTensor(const TensorSpec& spec, absl::Span<const std::byte> bytes) {
  const FingerprintKey key(spec);
  LIQUID_CHECK(static_cast<int64_t>(bytes.size()) == key.tensor_bytes());
  return key.HashPart(0, bytes.data(), key.tensor_bytes());
}

absl::StatusOr<Hash128> FingerprintDirectory(const std::string& directory, int num_threads) {
  LIQUID_ASSIGN_OR_RETURN(const WeightSource source, WeightSource::OpenAny(directory));
  struct Part {
    size_t tensor;
    int64_t first_byte;
    int64_t num_bytes;
  };
  constexpr int64_t kPartBytes = 4 << 20;  // about
  std::vector<FingerprintKey> keys;
  std::vector<Part> parts;
  for (const TensorRef& ref : source.tensors()) {
    keys.emplace_back(ref.spec());
    const int64_t chunk = keys.back().chunk_bytes();
    const int64_t most = std::max(chunk, kPartBytes / chunk * chunk);
    int64_t first_byte = 0;
    do {
      const int64_t num_bytes = std::min(most, ref.tensor->num_bytes() - first_byte);
      parts.push_back({keys.size() - 1, first_byte, num_bytes});
      first_byte += num_bytes;
    } while (first_byte < ref.tensor->num_bytes());
  }
  Mutex mutex;
  Hash128 sum;
  ParallelLoop(num_threads, static_cast<int64_t>(parts.size()), [&](int64_t i) {
    const Part part = parts[static_cast<size_t>(i)];
    const absl::Span<const std::byte> bytes =
        source.tensors()[part.tensor].bytes().subspan(static_cast<size_t>(part.first_byte));
    const Hash128 hash = keys[part.tensor].HashPart(part.first_byte, bytes.data(), part.num_bytes);
    const MutexLock lock(mutex);
    sum ^= hash;
  });
  return sum;
}

}  // namespace liquid
