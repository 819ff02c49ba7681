// Writes a prepared dataset file row by row, in bounded memory.
#ifndef LIQUID_DATA_DATASET_WRITER_H_
#define LIQUID_DATA_DATASET_WRITER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/file.h"
#include "base/hash.h"
#include "data/packing.h"

namespace liquid {

// Appends to a file through a buffer and hashes what passes.
class HashedAppender {
 public:
  static absl::StatusOr<HashedAppender> Create(const std::string& path, int64_t offset);
  absl::Status Append(const void* data, size_t num_bytes);
  absl::Status Flush();

  int64_t offset() const { return offset_ + static_cast<int64_t>(buffer_.size()); }
  Hash128 Digest() const { return hasher_.Digest(); }
  void RestartDigest() { hasher_ = Hasher(); }
  File& file() { return file_; }

 private:
  HashedAppender(File file, int64_t offset) : file_(std::move(file)), offset_(offset) {}
  File file_;
  int64_t offset_;  // of the buffer in the file
  std::vector<char> buffer_;
  Hasher hasher_;
};

// The file appears under its name, complete and on disk, in Finish(); until then (or if this is
// destroyed before) only temporary files beside it exist, and they are removed. One thread.
class DatasetWriter {
 public:
  struct Options {
    int sequence_length = 0;  // 2 .. 2^24
    int32_t vocab_size = 0;   // every token and pad_token is in [0, vocab_size)
    int32_t pad_token = 0;
  };

  // The directory of `path` must exist.
  static absl::StatusOr<std::unique_ptr<DatasetWriter>> Create(const std::string& path,
                                                               const Options& options);
  ~DatasetWriter();

  absl::Status Append(const PackedRow& row);
  // `provenance`: a JSON object with "sources" (docs/formats/dataset.md). `weights`: what the masks
  // 2, 3, ... of the rows stand for (data/loss_weights.h), at most kDatasetMaxWeights. At most
  // once, last. Returns the dataset's digest.
  absl::StatusOr<Hash128> Finish(std::string_view provenance, absl::Span<const float> weights = {});

  int64_t num_rows() const { return num_rows_; }
  int64_t num_documents() const { return num_documents_; }
  int64_t num_tokens() const { return num_tokens_; }
  int64_t num_targets() const { return num_targets_; }

 private:
  DatasetWriter(std::string path, std::string stem, const Options& options, HashedAppender rows,
                HashedAppender entries, HashedAppender documents);
  // Moves a temporary file's bytes to the end of the rows, then zeros up to the alignment.
  absl::Status AppendSection(HashedAppender* section);

  std::string path_;
  std::string stem_;  // the temporary files are stem_, stem_ + ".entries", stem_ + ".documents"
  Options options_;
  HashedAppender rows_;
  HashedAppender entries_;
  HashedAppender documents_;
  std::vector<char> row_bytes_;
  uint8_t largest_mask_ = 0;
  int64_t num_rows_ = 0;
  int64_t num_documents_ = 0;
  int64_t num_tokens_ = 0;
  int64_t num_targets_ = 0;
};

}  // namespace liquid

#endif  // LIQUID_DATA_DATASET_WRITER_H_
