#include "parallel/tcp/hello.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/hash.h"

namespace liquid {
namespace {

std::string JobText(const Hello& hello) {
  return absl::CHexEscape(absl::string_view(hello.job, strnlen(hello.job, sizeof(hello.job))));
}

}  // namespace

void SetJob(const std::string& digest, Hello* hello) {
  const std::string text = digest.size() <= sizeof(hello->job) ? digest : ToHex(HashBytes(digest));
  std::memset(hello->job, 0, sizeof(hello->job));
  std::memcpy(hello->job, text.data(), text.size());
}

absl::Status CheckHello(const Hello& said, const Hello& own) {
  if (said.magic != own.magic) {
    return absl::InvalidArgumentError(absl::StrCat("it begins with ", absl::Hex(said.magic),
                                                   ", a hello with ", absl::Hex(own.magic)));
  }
  if (said.version != own.version) {
    return absl::InvalidArgumentError(absl::StrCat("it speaks version ", said.version,
                                                   " of the protocol, this process ", own.version));
  }
  if (std::memcmp(said.job, own.job, sizeof(own.job)) != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("it is of job ", JobText(said), ", this process of ", JobText(own)));
  }
  const std::string from = absl::StrCat("gang ", said.from_gang, " rank ", said.from_rank);
  if (said.generation != own.generation) {
    const std::string text = absl::StrCat(from, " is of generation ", said.generation,
                                          ", this process of ", own.generation);
    if (said.generation > own.generation) return absl::OutOfRangeError(text);
    return absl::FailedPreconditionError(text);
  }
  if (said.token != own.token) {
    return absl::PermissionDeniedError(
        absl::StrCat(from, " has another token for generation ", own.generation));
  }
  if (said.to_gang != own.from_gang || said.to_rank != own.from_rank) {
    return absl::InvalidArgumentError(absl::StrCat(from, " looks for gang ", said.to_gang, " rank ",
                                                   said.to_rank, ", this is ", own.from_gang,
                                                   " rank ", own.from_rank));
  }
  return absl::OkStatus();
}

}  // namespace liquid
