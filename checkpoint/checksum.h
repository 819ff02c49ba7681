// Checksums of a checkpoint's files, defined so that ranks that each write a part of a file can
// compute the file's checksum together (docs/formats/checkpoint.md, 3).
#ifndef LIQUID_CHECKPOINT_CHECKSUM_H_
#define LIQUID_CHECKPOINT_CHECKSUM_H_

#include <cstdint>

#include "absl/types/span.h"
#include "base/hash.h"

namespace liquid {

// A tensor's bytes are cut into pieces of this many bytes; the last one may be shorter. The piece
// is the unit that one rank writes and hashes. A multiple of the fingerprint's chunk.
inline constexpr int64_t kPieceBytes = 16 << 20;

inline int64_t NumPieces(int64_t tensor_bytes) {
  return tensor_bytes / kPieceBytes + (tensor_bytes % kPieceBytes != 0 ? 1 : 0);
}

// XXH3-128 of the hashes, 16 bytes each in the order of their hexadecimal digits:
//   tensor checksum := CombineHashes(XXH3-128 of each piece, in order)
//   file checksum   := CombineHashes(XXH3-128 of the header's bytes, then the tensor checksums in
//                                    the order of the tensors' bytes)
Hash128 CombineHashes(absl::Span<const Hash128> hashes);

}  // namespace liquid

#endif  // LIQUID_CHECKPOINT_CHECKSUM_H_
