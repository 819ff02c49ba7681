// The coordinator's durable record: entries (proto/ledger.proto) in an SQLite file, each chained to
// the one before by SHA-256. docs/formats/ledger.md describes the file.
#ifndef LIQUID_COORDINATOR_LEDGER_H_
#define LIQUID_COORDINATOR_LEDGER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/clock.h"
#include "proto/ledger.pb.h"

namespace liquid {

// Called for the entries of a ledger in order; an error ends the reading and is returned.
using LedgerVisitor = absl::FunctionRef<absl::Status(const LedgerEntry&)>;

// OUTPUT/ledger.sqlite and OUTPUT/ledger.lock.
std::string LedgerPath(const std::string& output);
std::string LedgerLockPath(const std::string& output);

// Reads a ledger that a coordinator may be writing meanwhile; returns the hash of the last entry
// ("head"). NotFound if there is none; DataLoss, naming the entry, if its number, its content or
// its hash was changed.
absl::StatusOr<std::string> ReadLedger(const std::string& path, LedgerVisitor visit);

// The ledger of a job, open for appending. One thread at a time.
class Ledger {
 public:
  // Locks `output` (created if need be), verifies the chain of what is there, and gives every entry
  // to `visit`. FailedPrecondition if another coordinator holds it, naming that; DataLoss as above.
  // `clock` must outlive the ledger.
  static absl::StatusOr<std::unique_ptr<Ledger>> Open(const std::string& output, const Clock& clock,
                                                      LedgerVisitor visit);
  virtual ~Ledger() = default;

  // Numbers, times, chains and writes `entries`: all of them or none. They are on disk when it
  // returns OK. ResourceExhausted: the disk is full. After an error nothing more may be appended.
  virtual absl::Status Append(absl::Span<LedgerEntry> entries) = 0;

  virtual int64_t num_entries() const = 0;
  virtual std::string head() const = 0;  // hash of the last entry; 64 zeros before the first
};

}  // namespace liquid

#endif  // LIQUID_COORDINATOR_LEDGER_H_
