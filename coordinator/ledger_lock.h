// Keeps two coordinators from serving one job: an exclusive lock that ends with its holder.
#ifndef LIQUID_COORDINATOR_LEDGER_LOCK_H_
#define LIQUID_COORDINATOR_LEDGER_LOCK_H_

#include <string>

#include "absl/status/statusor.h"
#include "base/file.h"

namespace liquid {

// "pid 123 on host h": who this process is, to people.
std::string DescribeThisProcess();

// The lock of one file, held as long as this lives (and until children forked meanwhile end).
class LedgerLock {
 public:
  // FailedPrecondition naming the holder if somebody, this process included, holds it.
  static absl::StatusOr<LedgerLock> Acquire(const std::string& path);

 private:
  explicit LedgerLock(File file) : file_(std::move(file)) {}
  File file_;  // its descriptor carries the lock
};

}  // namespace liquid

#endif  // LIQUID_COORDINATOR_LEDGER_LOCK_H_
