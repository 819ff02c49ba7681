// Reads a checkpoint, verifying every checksum on the way. Whatever is wrong with it is found
// before its bytes are used; the caller may then turn to the next older one (catalog.h).
#ifndef LIQUID_CHECKPOINT_READER_H_
#define LIQUID_CHECKPOINT_READER_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "checkpoint/manifest.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/tensor_box.h"
#include "checkpoint/tensor_file.h"

namespace liquid {

// A tensor to read: it must be stored as `spec` says. `out` holds TensorNumBytes(spec) bytes, at
// any alignment.
struct TensorRead {
  TensorSpec spec;
  void* out = nullptr;
};

// Immutable: any number of threads may use it.
class CheckpointReader {
 public:
  // Opens the checkpoint in `directory`. NotFound: no manifest, or a file that it names is missing.
  // DataLoss: the manifest, a size or a header is not what was written.
  static absl::StatusOr<CheckpointReader> Open(const std::string& directory);

  const Manifest& manifest() const { return *manifest_; }
  const TrainingState& state() const { return manifest_->state; }
  std::string manifest_digest() const { return ManifestDigest(*manifest_); }  // as the ledger's
  // A tensor of the model or the optimizer; nullptr if there is none.
  const StoredTensor* Find(std::string_view name) const;

  // Reads whole tensors with `num_threads` threads; errors as ReadParts.
  absl::Status Read(absl::Span<const TensorRead> reads, int num_threads) const;

  // Reads boxes of tensors into memory, whatever boxes they were written as; pieces are verified
  // whole, also where only a part of one is wanted. Boxes may not share memory. NotFound: no such
  // tensor. InvalidArgument: stored with another dtype or shape. DataLoss: bytes are not those that
  // were written; names file, tensor and byte range. After an error the contents of the memory are
  // undefined.
  absl::Status ReadParts(absl::Span<const HeldPart> parts, int num_threads) const;

 private:
  CheckpointReader() = default;
  struct Place {
    int file;
    int tensor;
  };
  // A piece, and who wants something of it.
  struct PieceRead {
    Place place;
    int64_t index;
    std::vector<const HeldPart*> parts;
  };

  absl::StatusOr<std::vector<PieceRead>> PlanReads(absl::Span<const HeldPart> parts) const;
  absl::Status ReadPiece(const PieceRead& read, std::vector<std::byte>& scratch) const;

  std::unique_ptr<Manifest> manifest_;  // files_ point into it
  std::vector<TensorFile> files_;
  std::map<std::string, Place, std::less<>> by_name_;
};

}  // namespace liquid

#endif  // LIQUID_CHECKPOINT_READER_H_
