#include "base/file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace liquid {
namespace {

namespace fs = std::filesystem;

absl::Status FromErrorCode(const std::error_code& error, std::string_view what,
                           const std::string& path) {
  return error ? ErrnoStatus(error.value(), what, path) : absl::OkStatus();
}

absl::StatusOr<int> OpenFd(const std::string& path, int flags) {
  const int fd = open(path.c_str(), flags | O_CLOEXEC, 0644);
  if (fd < 0) return ErrnoStatus(errno, "open", path);
  return fd;
}

}  // namespace

absl::Status ErrnoStatus(int error, std::string_view what, const std::string& path) {
  const std::string text = absl::StrCat("cannot ", absl::string_view(what.data(), what.size()), " ",
                                        path, ": ", std::strerror(error));
  switch (error) {
    case ENOENT:
      return absl::NotFoundError(text);
    case EACCES:
    case EPERM:
    case EROFS:
      return absl::PermissionDeniedError(text);
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return absl::ResourceExhaustedError(text);
    case EEXIST:
      return absl::AlreadyExistsError(text);
    default:
      return absl::UnavailableError(text);
  }
}

absl::StatusOr<File> File::OpenForRead(const std::string& path) {
  LIQUID_ASSIGN_OR_RETURN(const int fd, OpenFd(path, O_RDONLY));
  return File(fd, path);
}

absl::StatusOr<File> File::Create(const std::string& path) {
  LIQUID_ASSIGN_OR_RETURN(const int fd, OpenFd(path, O_RDWR | O_CREAT | O_TRUNC));
  return File(fd, path);
}

absl::StatusOr<File> File::OpenForUpdate(const std::string& path) {
  LIQUID_ASSIGN_OR_RETURN(const int fd, OpenFd(path, O_RDWR));
  return File(fd, path);
}

absl::StatusOr<File> File::OpenForDirectUpdate(const std::string& path) {
  LIQUID_ASSIGN_OR_RETURN(const int fd, OpenFd(path, O_RDWR | O_DIRECT));
  return File(fd, path);
}

File& File::operator=(File&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(path_, other.path_);
  return *this;
}

File::~File() {
  if (fd_ >= 0) close(fd_);
}

absl::StatusOr<int64_t> File::Size() const {
  struct stat info {};
  if (fstat(fd_, &info) != 0) return ErrnoStatus(errno, "stat", path_);
  return static_cast<int64_t>(info.st_size);
}

absl::Status File::ReadAt(int64_t offset, void* out, size_t num_bytes) const {
  auto* bytes = static_cast<char*>(out);
  while (num_bytes > 0) {
    const ssize_t n = pread(fd_, bytes, num_bytes, offset);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus(errno, "read", path_);
    if (n == 0) {
      return absl::DataLossError(
          absl::StrCat(path_, " ends at byte ", offset, ", ", num_bytes, " bytes too early"));
    }
    bytes += n;
    offset += n;
    num_bytes -= static_cast<size_t>(n);
  }
  return absl::OkStatus();
}

absl::Status File::WriteAt(int64_t offset, const void* data, size_t num_bytes) {
  const auto* bytes = static_cast<const char*>(data);
  while (num_bytes > 0) {
    const ssize_t n = pwrite(fd_, bytes, num_bytes, offset);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus(errno, "write", path_);
    bytes += n;
    offset += n;
    num_bytes -= static_cast<size_t>(n);
  }
  return absl::OkStatus();
}

absl::Status File::Reserve(int64_t num_bytes) {
  if (num_bytes > 0) {
    // posix_fallocate returns the error and, where the file system has no such call, writes zeros.
    const int error = posix_fallocate(fd_, 0, num_bytes);
    if (error != 0) return ErrnoStatus(error, "reserve space for", path_);
  }
  if (ftruncate(fd_, num_bytes) != 0) return ErrnoStatus(errno, "resize", path_);
  return absl::OkStatus();
}

absl::Status File::Sync() {
  if (fsync(fd_) != 0) return ErrnoStatus(errno, "sync", path_);
  return absl::OkStatus();
}

absl::StatusOr<bool> File::TryLock() {
  while (flock(fd_, LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) return false;
    if (errno != EINTR) return ErrnoStatus(errno, "lock", path_);
  }
  return true;
}

absl::StatusOr<MappedFile> MappedFile::Open(const std::string& path) {
  LIQUID_ASSIGN_OR_RETURN(const File file, File::OpenForRead(path));
  LIQUID_ASSIGN_OR_RETURN(const int64_t size, file.Size());
  if (size == 0) return MappedFile(nullptr, 0, path);
  void* data = mmap(nullptr, static_cast<size_t>(size), PROT_READ, MAP_SHARED, file.fd(), 0);
  if (data == MAP_FAILED) return ErrnoStatus(errno, "map", path);
  return MappedFile(static_cast<const std::byte*>(data), static_cast<size_t>(size), path);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      path_(std::move(other.path_)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(path_, other.path_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) munmap(const_cast<std::byte*>(data_), size_);
}

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  LIQUID_ASSIGN_OR_RETURN(const File file, File::OpenForRead(path));
  // Not by size: files such as those of /proc, and pipes, do not know theirs.
  std::string content;
  char chunk[1 << 16];
  while (true) {
    const ssize_t n = read(file.fd(), chunk, sizeof(chunk));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus(errno, "read", path);
    if (n == 0) return content;
    content.append(chunk, static_cast<size_t>(n));
  }
}

absl::Status WriteFile(const std::string& path, std::string_view content) {
  LIQUID_ASSIGN_OR_RETURN(File file, File::Create(path));
  LIQUID_RETURN_IF_ERROR(file.WriteAt(0, content.data(), content.size()));
  return file.Sync();
}

absl::Status WriteFileAtomically(const std::string& path, std::string_view content) {
  const std::string temporary = absl::StrCat(path, ".tmp-", getpid());
  absl::Status status = WriteFile(temporary, content);
  if (status.ok()) status = Rename(temporary, path);
  if (!status.ok()) {
    unlink(temporary.c_str());
    return status;
  }
  const std::string parent = fs::path(path).parent_path().string();
  return SyncDirectory(parent.empty() ? "." : parent);
}

bool FileExists(const std::string& path) {
  std::error_code error;
  return fs::exists(path, error);
}

absl::Status MakeDirectories(const std::string& path) {
  std::error_code error;
  fs::create_directories(path, error);
  return FromErrorCode(error, "make directory", path);
}

absl::Status SyncDirectory(const std::string& path) {
  LIQUID_ASSIGN_OR_RETURN(const int fd, OpenFd(path, O_RDONLY | O_DIRECTORY));
  const int result = fsync(fd);
  const int error = errno;
  close(fd);
  if (result != 0) return ErrnoStatus(error, "sync directory", path);
  return absl::OkStatus();
}

absl::Status Rename(const std::string& from, const std::string& to) {
  if (rename(from.c_str(), to.c_str()) != 0) {
    return ErrnoStatus(errno, "rename", absl::StrCat(from, " to ", to));
  }
  return absl::OkStatus();
}

absl::Status ExchangePaths(const std::string& a, const std::string& b) {
  if (renameat2(AT_FDCWD, a.c_str(), AT_FDCWD, b.c_str(), RENAME_EXCHANGE) == 0) {
    return absl::OkStatus();
  }
  if (errno != EINVAL && errno != ENOSYS) {
    return ErrnoStatus(errno, "exchange", absl::StrCat(a, " and ", b));
  }
  const std::string aside = absl::StrCat(b, ".aside-", getpid());
  LIQUID_RETURN_IF_ERROR(Rename(b, aside));
  LIQUID_RETURN_IF_ERROR(Rename(a, b));
  return Rename(aside, a);
}

absl::Status ReplaceSymlink(const std::string& target, const std::string& path) {
  const std::string temporary = absl::StrCat(path, ".tmp-", getpid());
  unlink(temporary.c_str());
  if (symlink(target.c_str(), temporary.c_str()) != 0) return ErrnoStatus(errno, "link", temporary);
  const absl::Status status = Rename(temporary, path);
  if (!status.ok()) unlink(temporary.c_str());
  return status;
}

absl::StatusOr<std::string> ReadSymlink(const std::string& path) {
  std::error_code error;
  const fs::path target = fs::read_symlink(path, error);
  if (error) return absl::NotFoundError(absl::StrCat(path, " is no symbolic link"));
  return target.string();
}

absl::Status RemoveRecursively(const std::string& path) {
  std::error_code error;
  fs::remove_all(path, error);
  return FromErrorCode(error, "remove", path);
}

absl::StatusOr<std::vector<std::string>> ListDirectory(const std::string& path) {
  std::error_code error;
  fs::directory_iterator it(path, error);
  if (error) return FromErrorCode(error, "list", path);
  std::vector<std::string> names;
  for (; it != fs::directory_iterator(); it.increment(error)) {
    if (error) return FromErrorCode(error, "list", path);
    names.push_back(it->path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

absl::StatusOr<int64_t> FreeBytes(const std::string& path) {
  struct statvfs info {};
  if (statvfs(path.c_str(), &info) != 0) return ErrnoStatus(errno, "stat file system of", path);
  return static_cast<int64_t>(info.f_bavail) * static_cast<int64_t>(info.f_frsize);
}

std::string AbsolutePath(const std::string& path) {
  std::error_code error;
  const fs::path absolute = fs::absolute(path, error);
  return error ? path : absolute.lexically_normal().string();
}

std::string JoinPath(std::string_view base, std::string_view path) {
  return (fs::path(base) / fs::path(path)).string();
}

}  // namespace liquid
