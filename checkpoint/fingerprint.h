// A fingerprint of a set of weights: 128 bits that depend on names, dtypes, shapes and bytes alone;
// not on files, order, sharding, or who computed which part. Definition
// (docs/formats/checkpoint.md, 4): the XOR, over all tensors and all their chunks, of keyed hashes
// of the chunks. A chunk is an equal part of a row: so however a tensor is spread over 2, 4 or 8
// ranks, by rows or by columns, each has whole chunks.
#ifndef LIQUID_CHECKPOINT_FINGERPRINT_H_
#define LIQUID_CHECKPOINT_FINGERPRINT_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/hash.h"
#include "checkpoint/safetensors.h"

namespace liquid {

// Chunks of a row of `length` elements: the greatest common divisor of it and 24, that is of 8
// ranks and 3 sections.
int64_t FingerprintChunksOfRow(int64_t length);

// What one tensor's chunks are hashed with. Make it once per tensor: hashing a chunk with it does
// not allocate. Immutable: any number of threads may use it.
class FingerprintKey {
 public:
  // InvalidArgument shapes (TensorNumBytes) are a bug here.
  explicit FingerprintKey(const TensorSpec& spec);

  int64_t tensor_bytes() const { return tensor_bytes_; }
  int64_t chunk_bytes() const { return chunk_bytes_; }

  // The XOR of the hashes of the chunks in bytes [first_byte, first_byte + num_bytes) of the
  // tensor, which are at `bytes`. A part starts and ends at chunk boundaries or at the tensor's
  // end. The XOR over parts that make up the tensor is the tensor's fingerprint; a tensor without
  // elements has one part, of 0 bytes.
  Hash128 HashPart(int64_t first_byte, const void* bytes, int64_t num_bytes) const;

 private:
  Hash128 key_;
  int64_t tensor_bytes_;
  int64_t chunk_bytes_;  // at least 1
};

// The fingerprint of a whole tensor.
Hash128 FingerprintTensor(const TensorSpec& spec, absl::Span<const std::byte> bytes);

// The fingerprint of the model weights of a Hugging Face directory (or a checkpoint: optimizer
// state does not count), read by `num_threads` threads. Errors as WeightSource::Open.
absl::StatusOr<Hash128> FingerprintDirectory(const std::string& directory, int num_threads);

}  // namespace liquid

#endif  // LIQUID_CHECKPOINT_FINGERPRINT_H_
