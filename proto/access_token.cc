#include "proto/access_token.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/status.h"

namespace liquid {
namespace {

constexpr int64_t kMaxBytes = 4096;
constexpr mode_t kOthers = S_IRWXG | S_IRWXO;

bool IsPlain(char c) { return absl::ascii_isgraph(static_cast<unsigned char>(c)); }

}  // namespace

absl::StatusOr<std::string> ReadAccessToken(const std::string& path) {
  if (path.empty()) return "";
  LIQUID_ASSIGN_OR_RETURN(const File file, File::OpenForRead(path));
  struct stat info {};
  if (fstat(file.fd(), &info) != 0) return ErrnoStatus(errno, "look at", path);
  if (!S_ISREG(info.st_mode)) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": an access token must be a plain file"));
  }
  if ((info.st_mode & kOthers) != 0) {
    return absl::PermissionDeniedError(
        absl::StrFormat("%s: others can get at the access token (mode %03o); do: chmod 600 %s",
                        path, static_cast<unsigned>(info.st_mode & 0777), path));
  }
  if (info.st_size > kMaxBytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        path, ": ", info.st_size, " bytes are no access token; at most ", kMaxBytes, " are"));
  }
  std::string text(static_cast<size_t>(info.st_size), '\0');
  LIQUID_RETURN_IF_ERROR(file.ReadAt(0, text.data(), text.size()));
  absl::StripAsciiWhitespace(&text);
  if (text.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": the access token is empty"));
  }
  if (!std::all_of(text.begin(), text.end(), IsPlain)) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": an access token is one word of printable ASCII"));
  }
  return text;
}

std::string BearerOf(std::string_view token) { return absl::StrCat("Bearer ", std::string(token)); }

bool IsBearerOf(std::string_view value, std::string_view token) {
  // Of equal length whatever was sent, and the order of hashes says nothing about the texts.
  const std::string given = Sha256Hex(value);
  const std::string expected = Sha256Hex(BearerOf(token));
  unsigned difference = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    difference |= static_cast<unsigned char>(given[i] ^ expected[i]);
  }
  return difference == 0;
}

}  // namespace liquid
