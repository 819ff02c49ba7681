// Lines of text files, one after the other, in bounded memory.
#ifndef LIQUID_DATA_JSONL_READER_H_
#define LIQUID_DATA_JSONL_READER_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/file.h"
#include "base/hash.h"
#include "data/dataset.h"

namespace liquid {

// Size and digest of the file at `path`.
absl::StatusOr<DatasetSource> HashSource(const std::string& path);

// Reads the lines of several files in order. Lines that hold nothing but white space are passed
// over, but counted. A UTF-8 byte order mark at a file's begin is none of its text. One thread.
class JsonlReader {
 public:
  static constexpr size_t kMaxLineBytes = 16 << 20;

  // One at least must be asked for; each is opened when its turn comes.
  explicit JsonlReader(std::vector<std::string> paths);

  struct Line {
    int32_t source = 0;     // index into paths
    int64_t number = 0;     // from 1, in its file
    std::string_view text;  // valid until the next call; without the line's end
    bool too_long = false;  // more than kMaxLineBytes: `text` is empty
  };
  // The next line, or nothing at the end.
  absl::StatusOr<std::optional<Line>> Next();

  // Of the files that have been read to their end: what was really read.
  const std::vector<DatasetSource>& sources() const { return sources_; }
  int64_t num_bytes_read() const { return num_bytes_read_; }

 private:
  absl::Status Fill();
  absl::Status OpenNext();

  std::vector<std::string> paths_;
  std::optional<File> file_;
  int64_t file_bytes_ = 0;
  int64_t file_offset_ = 0;
  int64_t line_number_ = 0;
  Hasher hasher_;
  std::string buffer_;     // bytes that were read and not yet given
  size_t at_ = 0;          // begin of the next line in buffer_
  bool skipping_ = false;  // inside a line that is too long
  std::vector<DatasetSource> sources_;
  int64_t num_bytes_read_ = 0;
};

}  // namespace liquid

#endif  // LIQUID_DATA_JSONL_READER_H_
