// One safetensors file of a checkpoint, held against what the manifest says of it.
#ifndef LIQUID_CHECKPOINT_TENSOR_FILE_H_
#define LIQUID_CHECKPOINT_TENSOR_FILE_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/file.h"
#include "checkpoint/manifest.h"
#include "checkpoint/safetensors.h"

namespace liquid {

// Bytes [begin, end) of a file.
struct FileRange {
  int64_t begin = 0;
  int64_t end = 0;
};

// Immutable: any number of threads may read. Reads with pread, not through a mapping: a failing
// disk or a file that shrinks is then an error, not a signal.
class TensorFile {
 public:
  // Opens a file of `directory` and verifies its size, header and list of tensors. `entry` must
  // outlive this. NotFound: no such file. DataLoss: size or header is not what was written.
  // InvalidArgument: a sound header that disagrees with the entry.
  static absl::StatusOr<TensorFile> Open(const std::string& directory,
                                         const ManifestTensorFile& entry);

  const std::string& path() const { return file_.path(); }
  // In the order of their bytes, as in the entry.
  absl::Span<const StoredTensor> tensors() const { return header_.tensors; }

  // Piece `index` (checkpoint/checksum.h) of the tensor number `tensor`.
  FileRange RangeOfPiece(int tensor, int64_t index) const;
  // Reads it into `out`, or only verifies it (nullptr). DataLoss, naming file, tensor and range, if
  // its checksum is another.
  absl::Status ReadPiece(int tensor, int64_t index, void* out) const;

 private:
  TensorFile(File file, SafetensorsHeader header, const ManifestTensorFile& entry)
      : file_(std::move(file)), header_(std::move(header)), entry_(&entry) {}

  File file_;
  SafetensorsHeader header_;
  const ManifestTensorFile* entry_;
};

}  // namespace liquid

#endif  // LIQUID_CHECKPOINT_TENSOR_FILE_H_
