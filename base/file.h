// Files: the one place that makes system calls on them. Errors name the path and the cause:
// NotFound, PermissionDenied, ResourceExhausted (disk or quota full), Unavailable (anything else).
#ifndef LIQUID_BASE_FILE_H_
#define LIQUID_BASE_FILE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace liquid {

// The Status of a system call that failed on `path`, from its errno.
absl::Status ErrnoStatus(int error, std::string_view what, const std::string& path);

// An open file. Closes at its end; errors of that close are dropped, so call Sync() first.
class File {
 public:
  static absl::StatusOr<File> OpenForRead(const std::string& path);
  // Creates the file, or truncates the one that is there, for reading and writing.
  static absl::StatusOr<File> Create(const std::string& path);
  // Opens an existing file for reading and writing, without truncation.
  static absl::StatusOr<File> OpenForUpdate(const std::string& path);
  // The same, past the page cache: offset, address and size of a write must be multiples of
  // kDirectAlignment. Unavailable where the file system has no such way.
  static absl::StatusOr<File> OpenForDirectUpdate(const std::string& path);
  static constexpr int64_t kDirectAlignment = 4096;

  File(File&& other) noexcept : fd_(std::exchange(other.fd_, -1)), path_(std::move(other.path_)) {}
  File& operator=(File&& other) noexcept;
  ~File();

  const std::string& path() const { return path_; }
  int fd() const { return fd_; }
  absl::StatusOr<int64_t> Size() const;

  // All `num_bytes`, or an error; DataLoss if the file ends before.
  absl::Status ReadAt(int64_t offset, void* out, size_t num_bytes) const;
  absl::Status WriteAt(int64_t offset, const void* data, size_t num_bytes);
  // Reserves disk space for bytes [0, num_bytes) and makes the file that long.
  absl::Status Reserve(int64_t num_bytes);
  absl::Status Sync();  // data and metadata are on disk (fsync)
  // Takes the file's lock for as long as this file is open here; false if another has it. The
  // kernel gives a dead process's locks back.
  absl::StatusOr<bool> TryLock();

 private:
  File(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}
  int fd_;
  std::string path_;
};

// A whole file mapped read-only. The mapping lives as long as this. Should the file be truncated
// meanwhile, touching the lost pages ends the process (SIGBUS).
class MappedFile {
 public:
  static absl::StatusOr<MappedFile> Open(const std::string& path);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  const std::string& path() const { return path_; }
  absl::Span<const std::byte> bytes() const { return {data_, size_}; }
  std::string_view text() const { return {reinterpret_cast<const char*>(data_), size_}; }

 private:
  MappedFile(const std::byte* data, size_t size, std::string path)
      : data_(data), size_(size), path_(std::move(path)) {}
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
  std::string path_;
};

absl::StatusOr<std::string> ReadFile(const std::string& path);
// Creates the file, or replaces the content of the one that is there; it is on disk.
absl::Status WriteFile(const std::string& path, std::string_view content);
// Replaces `path` atomically: temporary file beside it, fsync, rename, fsync of the directory.
absl::Status WriteFileAtomically(const std::string& path, std::string_view content);

bool FileExists(const std::string& path);
absl::Status MakeDirectories(const std::string& path);  // as mkdir -p
absl::Status SyncDirectory(const std::string& path);    // its entries are on disk
absl::Status Rename(const std::string& from, const std::string& to);
// Swaps what two existing names stand for, atomically where the file system can.
absl::Status ExchangePaths(const std::string& a, const std::string& b);
// Makes `path` a symbolic link to `target`, atomically in place of the link that is there.
absl::Status ReplaceSymlink(const std::string& target, const std::string& path);
// What the symbolic link `path` points to; NotFound if it is none.
absl::StatusOr<std::string> ReadSymlink(const std::string& path);
absl::Status RemoveRecursively(const std::string& path);  // OK if there is nothing
absl::StatusOr<std::vector<std::string>> ListDirectory(const std::string& path);  // names, sorted
absl::StatusOr<int64_t> FreeBytes(const std::string& path);  // for us, on the disk of `path`
// `path` made absolute against the working directory; `base/path` unless `path` is absolute.
std::string AbsolutePath(const std::string& path);
std::string JoinPath(std::string_view base, std::string_view path);

}  // namespace liquid

#endif  // LIQUID_BASE_FILE_H_
