#include "coordinator/ledger.h"

#include <sqlite3.h>

#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/file.h"
#include "base/handle.h"
#include "base/hash.h"
#include "base/status.h"
#include "coordinator/ledger_lock.h"

namespace liquid {
namespace {

using Database = Handle<sqlite3*, sqlite3_close>;
using Statement = Handle<sqlite3_stmt*, sqlite3_finalize>;

constexpr int kBusyTimeoutMs = 10000;
constexpr char kSchema[] =
    "CREATE TABLE IF NOT EXISTS entries ("
    "number INTEGER PRIMARY KEY, entry BLOB NOT NULL, hash TEXT NOT NULL)";

std::string FirstHead() { return std::string(64, '0'); }

std::string ChainHash(const std::string& previous, const std::string& bytes) {
  return Sha256Hex(absl::StrCat(previous, bytes));
}

absl::Status SqliteStatus(sqlite3* database, int code, const std::string& path) {
  // SQLite itself tells apart ENOSPC only; for the other kinds of full ask the system, at once.
  const int system_error = (code & 0xff) == SQLITE_IOERR ? errno : 0;
  const std::string text = absl::StrCat("ledger ", path, ": ", sqlite3_errmsg(database));
  if (code == SQLITE_FULL || system_error == ENOSPC || system_error == EDQUOT ||
      system_error == EFBIG) {
    return absl::ResourceExhaustedError(absl::StrCat(text, "; free some space and start again"));
  }
  if (code == SQLITE_CORRUPT || code == SQLITE_NOTADB) return absl::DataLossError(text);
  return absl::UnavailableError(text);
}

absl::StatusOr<Database> OpenDatabase(const std::string& path, int flags) {
  sqlite3* raw = nullptr;
  const int code = sqlite3_open_v2(path.c_str(), &raw, flags | SQLITE_OPEN_NOMUTEX, nullptr);
  Database database(raw);
  if (code != SQLITE_OK) return SqliteStatus(raw, code, path);
  sqlite3_busy_timeout(raw, kBusyTimeoutMs);
  return database;
}

absl::Status Execute(sqlite3* database, const char* sql, const std::string& path) {
  const int code = sqlite3_exec(database, sql, nullptr, nullptr, nullptr);
  return code == SQLITE_OK ? absl::OkStatus() : SqliteStatus(database, code, path);
}

absl::StatusOr<Statement> Prepare(sqlite3* database, const char* sql, const std::string& path) {
  sqlite3_stmt* raw = nullptr;
  const int code = sqlite3_prepare_v2(database, sql, -1, &raw, nullptr);
  if (code != SQLITE_OK) return SqliteStatus(database, code, path);
  return Statement(raw);
}

std::string BlobColumn(sqlite3_stmt* row, int column) {
  const void* data = sqlite3_column_blob(row, column);
  const int num_bytes = sqlite3_column_bytes(row, column);
  return data == nullptr ? "" : std::string(static_cast<const char*>(data), num_bytes);
}

// Verifies one row against the one before; moves `number` and `head` on to it.
absl::Status CheckRow(sqlite3_stmt* row, const std::string& path, int64_t* number,
                      std::string* head, LedgerEntry* entry) {
  const int64_t stored = sqlite3_column_int64(row, 0);
  const std::string bytes = BlobColumn(row, 1);
  const std::string hash = BlobColumn(row, 2);
  const std::string where = absl::StrCat("ledger ", path, ": entry ", ++*number);
  if (stored != *number) {
    return absl::DataLossError(absl::StrCat(where, " is missing: the next one is ", stored));
  }
  *head = ChainHash(*head, bytes);
  if (hash != *head) {
    return absl::DataLossError(
        absl::StrCat(where, " was changed: its hash is ", *head, ", the chain says ", hash));
  }
  if (!entry->ParseFromString(bytes) || entry->number() != stored) {
    return absl::DataLossError(absl::StrCat(where, " is not an entry of that number"));
  }
  return absl::OkStatus();
}

// Reads all entries; sets `number` and `head` to those of the last.
absl::Status ReadAll(sqlite3* database, const std::string& path, LedgerVisitor visit,
                     int64_t* number, std::string* head) {
  LIQUID_ASSIGN_OR_RETURN(
      const Statement rows,
      Prepare(database, "SELECT number, entry, hash FROM entries ORDER BY number", path));
  *number = 0;
  *head = FirstHead();
  LedgerEntry entry;
  for (;;) {
    const int code = sqlite3_step(rows.get());
    if (code == SQLITE_DONE) return absl::OkStatus();
    if (code != SQLITE_ROW) return SqliteStatus(database, code, path);
    LIQUID_RETURN_IF_ERROR(CheckRow(rows.get(), path, number, head, &entry));
    if (absl::Status status = visit(entry); !status.ok()) {
      return Annotate(status, absl::StrCat("ledger ", path, ": entry ", *number));
    }
  }
}

class SqliteLedger final : public Ledger {
 public:
  SqliteLedger(std::string path, const Clock& clock, LedgerLock lock, Database database)
      : path_(std::move(path)),
        clock_(clock),
        lock_(std::move(lock)),
        database_(std::move(database)) {}

  absl::Status Initialize(LedgerVisitor visit) {
    for (const char* sql : {"PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL", kSchema}) {
      LIQUID_RETURN_IF_ERROR(Execute(database_.get(), sql, path_));
    }
    LIQUID_RETURN_IF_ERROR(ReadAll(database_.get(), path_, visit, &num_entries_, &head_));
    LIQUID_ASSIGN_OR_RETURN(
        insert_,
        Prepare(database_.get(), "INSERT INTO entries(number, entry, hash) VALUES(?,?,?)", path_));
    return absl::OkStatus();
  }

  absl::Status Append(absl::Span<LedgerEntry> entries) override {
    LIQUID_CHECK(!failed_, path_, ": append after an error");
    const absl::Status status = AppendAll(entries);
    if (!status.ok()) {
      failed_ = true;
      // The error that counts is the first one; a failed rollback leaves the same: no entry.
      sqlite3_exec(database_.get(), "ROLLBACK", nullptr, nullptr, nullptr);
    }
    return status;
  }

  int64_t num_entries() const override { return num_entries_; }
  std::string head() const override { return head_; }

 private:
  absl::Status AppendAll(absl::Span<LedgerEntry> entries) {
    LIQUID_RETURN_IF_ERROR(Execute(database_.get(), "BEGIN IMMEDIATE", path_));
    int64_t number = num_entries_;
    std::string head = head_;
    const int64_t now = absl::ToUnixMicros(clock_.Now());
    for (LedgerEntry& entry : entries) {
      entry.set_number(++number);
      entry.set_unix_micros(now);
      const std::string bytes = entry.SerializeAsString();
      head = ChainHash(head, bytes);
      LIQUID_RETURN_IF_ERROR(Insert(number, bytes, head));
    }
    LIQUID_RETURN_IF_ERROR(Execute(database_.get(), "COMMIT", path_));
    num_entries_ = number;
    head_ = head;
    return absl::OkStatus();
  }

  absl::Status Insert(int64_t number, const std::string& bytes, const std::string& hash) {
    sqlite3_stmt* row = insert_.get();
    sqlite3_reset(row);
    sqlite3_bind_int64(row, 1, number);
    sqlite3_bind_blob64(row, 2, bytes.data(), bytes.size(), SQLITE_STATIC);
    sqlite3_bind_text(row, 3, hash.data(), static_cast<int>(hash.size()), SQLITE_STATIC);
    const int code = sqlite3_step(row);
    const absl::Status status =
        code == SQLITE_DONE ? absl::OkStatus() : SqliteStatus(database_.get(), code, path_);
    sqlite3_reset(row);
    sqlite3_clear_bindings(row);
    return status;
  }

  const std::string path_;
  const Clock& clock_;
  const LedgerLock lock_;
  const Database database_;
  Statement insert_;  // before the database ends
  int64_t num_entries_ = 0;
  std::string head_ = FirstHead();
  bool failed_ = false;
};

}  // namespace

std::string LedgerPath(const std::string& output) { return JoinPath(output, "ledger.sqlite"); }
std::string LedgerLockPath(const std::string& output) { return JoinPath(output, "ledger.lock"); }

absl::StatusOr<std::string> ReadLedger(const std::string& path, LedgerVisitor visit) {
  if (!FileExists(path)) return absl::NotFoundError(absl::StrCat("there is no ledger ", path));
  LIQUID_ASSIGN_OR_RETURN(const Database database, OpenDatabase(path, SQLITE_OPEN_READONLY));
  int64_t number = 0;
  std::string head;
  LIQUID_RETURN_IF_ERROR(ReadAll(database.get(), path, visit, &number, &head));
  return head;
}

absl::StatusOr<std::unique_ptr<Ledger>> Ledger::Open(const std::string& output, const Clock& clock,
                                                     LedgerVisitor visit) {
  LIQUID_RETURN_IF_ERROR(MakeDirectories(output));
  LIQUID_ASSIGN_OR_RETURN(LedgerLock lock, LedgerLock::Acquire(LedgerLockPath(output)));
  const std::string path = LedgerPath(output);
  LIQUID_ASSIGN_OR_RETURN(Database database,
                          OpenDatabase(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE));
  auto ledger = std::make_unique<SqliteLedger>(path, clock, std::move(lock), std::move(database));
  LIQUID_RETURN_IF_ERROR(ledger->Initialize(visit));
  return ledger;
}

}  // namespace liquid
