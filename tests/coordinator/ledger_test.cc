#include "coordinator/ledger.h"

#include <signal.h>
#include <sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "coordinator/audit.h"
#include "gmock/gmock.h"
#include "tests/coordinator/ledger_script.h"
#include "tests/testing/status_matchers.h"

namespace liquid {
namespace {

using ::liquid::testing::IsOk;
using ::liquid::testing::LedgerTest;
using ::liquid::testing::StatusIs;
using ::testing::AllOf;
using ::testing::HasSubstr;

LedgerEntry Note(int k) {
  LedgerEntry entry;
  entry.mutable_operator_action()->set_who("ann");
  entry.mutable_operator_action()->set_what(absl::StrCat("note ", k));
  return entry;
}

TEST_F(LedgerTest, EntriesAreNumberedChainedAndReadBack) {
  {
    auto ledger = OpenEmpty();
    EXPECT_EQ(ledger->head(), std::string(64, '0'));
    std::vector<LedgerEntry> entries = {Note(1), Note(2)};
    ASSERT_THAT(ledger->Append(absl::MakeSpan(entries)), IsOk());
    EXPECT_EQ(entries[1].number(), 2);
    EXPECT_GT(entries[1].unix_micros(), 0);
    EXPECT_EQ(ledger->num_entries(), 2);
    const std::string first = Sha256Hex(std::string(64, '0') + entries[0].SerializeAsString());
    EXPECT_EQ(ledger->head(), Sha256Hex(first + entries[1].SerializeAsString()));
  }
  std::vector<std::string> seen;
  const auto visit = [&seen](const LedgerEntry& entry) {
    seen.push_back(entry.operator_action().what());
    return absl::OkStatus();
  };
  auto again = Ledger::Open(output_, clock_, visit);
  ASSERT_THAT(again, IsOk());
  EXPECT_THAT(seen, ::testing::ElementsAre("note 1", "note 2"));
  std::vector<LedgerEntry> more = {Note(3)};
  ASSERT_THAT((*again)->Append(absl::MakeSpan(more)), IsOk());
  EXPECT_EQ(ReadLedger(LedgerPath(output_), visit).value(), (*again)->head());  // while it is open
}

TEST_F(LedgerTest, AChangedEntryIsFoundWhenItIsOpened) {
  Write({Note(1), Note(2), Note(3)});
  Sql("UPDATE entries SET hash=(SELECT hash FROM entries WHERE number=1) WHERE number=2");
  const auto ignore = [](const LedgerEntry&) { return absl::OkStatus(); };
  EXPECT_THAT(Ledger::Open(output_, clock_, ignore),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("entry 2 was changed")));
}

TEST_F(LedgerTest, TwoHoldersAreRefusedAndTheFirstIsNamed) {
  auto first = OpenEmpty();
  const auto ignore = [](const LedgerEntry&) { return absl::OkStatus(); };
  EXPECT_THAT(Ledger::Open(output_, clock_, ignore),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       HasSubstr(absl::StrCat("pid ", getpid(), " on host "))));
  first.reset();
  EXPECT_THAT(Ledger::Open(output_, clock_, ignore), IsOk());
}

TEST_F(LedgerTest, AKilledWriterLeavesAValidPrefix) {
  for (int round = 0; round < 5; ++round) {
    int pipe_fds[2];
    ASSERT_EQ(pipe(pipe_fds), 0);
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      const auto ignore = [](const LedgerEntry&) { return absl::OkStatus(); };
      auto ledger = Ledger::Open(output_, clock_, ignore);
      if (!ledger.ok()) _exit(1);
      for (;;) {
        std::vector<LedgerEntry> entries = {Note(1), Note(2), Note(3)};
        if (!(*ledger)->Append(absl::MakeSpan(entries)).ok()) _exit(1);
        const int64_t done = (*ledger)->num_entries();
        if (write(pipe_fds[1], &done, sizeof(done)) != sizeof(done)) _exit(1);
      }
    }
    close(pipe_fds[1]);
    int64_t acknowledged = 0;
    for (int i = 0; i <= round; ++i) {
      ASSERT_EQ(read(pipe_fds[0], &acknowledged, sizeof(acknowledged)),
                static_cast<ssize_t>(sizeof(acknowledged)));
    }
    kill(child, SIGKILL);
    int status = 0;
    waitpid(child, &status, 0);
    close(pipe_fds[0]);
    int64_t count = 0;
    const auto ledger = Ledger::Open(output_, clock_, [&count](const LedgerEntry&) {
      ++count;
      return absl::OkStatus();
    });
    ASSERT_THAT(ledger, IsOk());
    EXPECT_GE(count, acknowledged);
    EXPECT_EQ(count % 3, 0) << "half of a transaction";
  }
}

TEST_F(LedgerTest, ThereIsNoLedgerWhereThereIsNone) {
  EXPECT_THAT(ReadLedger(LedgerPath(output_), [](const LedgerEntry&) { return absl::OkStatus(); }),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("ledger.sqlite")));
}

TEST_F(LedgerTest, AFileThatIsNoDatabaseIsRefused) {
  ASSERT_THAT(MakeDirectories(output_), IsOk());
  ASSERT_THAT(WriteFileAtomically(LedgerPath(output_), std::string(5000, 'x')), IsOk());
  EXPECT_THAT(Ledger::Open(output_, clock_, [](const LedgerEntry&) { return absl::OkStatus(); }),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("ledger.sqlite")));
}

}  // namespace
}  // namespace liquid
