#include "coordinator/ledger_lock.h"

#include <unistd.h>

#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace liquid {
namespace {

constexpr int kMaxHolderBytes = 300;

absl::StatusOr<File> OpenOrCreate(const std::string& path) {
  if (FileExists(path)) return File::OpenForUpdate(path);
  return File::Create(path);  // two at once: both get the same file, one of them the lock
}

}  // namespace

std::string DescribeThisProcess() {
  char host[256] = "";
  if (gethostname(host, sizeof(host) - 1) != 0) host[0] = '\0';
  return absl::StrCat("pid ", getpid(), " on host ", host);
}

absl::StatusOr<LedgerLock> LedgerLock::Acquire(const std::string& path) {
  LIQUID_ASSIGN_OR_RETURN(File file, OpenOrCreate(path));
  LIQUID_ASSIGN_OR_RETURN(const bool is_mine, file.TryLock());
  if (!is_mine) {
    const auto holder = ReadFile(path);
    return absl::FailedPreconditionError(
        absl::StrCat("another coordinator serves this job: ",
                     holder.ok() && !holder->empty() ? *holder : "unknown process",
                     "; stop it first, or use another output (", path, ")"));
  }
  std::string holder = DescribeThisProcess();
  holder.resize(std::min<size_t>(holder.size(), kMaxHolderBytes));
  if (ftruncate(file.fd(), 0) != 0) return ErrnoStatus(errno, "truncate", path);
  LIQUID_RETURN_IF_ERROR(file.WriteAt(0, holder.data(), holder.size()));
  return LedgerLock(std::move(file));
}

}  // namespace liquid
