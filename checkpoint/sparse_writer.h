// Writing of large runs of bytes into a file that is there in its full size, by several threads.
#ifndef LIQUID_CHECKPOINT_SPARSE_WRITER_H_
#define LIQUID_CHECKPOINT_SPARSE_WRITER_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/file.h"

namespace liquid {

// Where address and file offset agree in their place within a block of the disk, whole blocks go
// straight to the disk: filling the page cache would take the processors from training for longer
// than the disk needs. Ends of runs, and file systems without direct writes, take the page cache.
// Threads may write different bytes at the same time.
class SparseWriter {
 public:
  static absl::StatusOr<SparseWriter> Open(const std::string& path);

  absl::Status Write(int64_t offset, const std::byte* data, int64_t num_bytes);
  absl::Status Sync() { return buffered_.Sync(); }

 private:
  SparseWriter(File buffered, std::optional<File> direct)
      : buffered_(std::move(buffered)), direct_(std::move(direct)) {}

  File buffered_;
  std::optional<File> direct_;
};

}  // namespace liquid

#endif  // LIQUID_CHECKPOINT_SPARSE_WRITER_H_
