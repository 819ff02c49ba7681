#include "tests/chaos/recomputation.h"

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace liquid::testing {
namespace {

constexpr int kPidOfGang = 100;  // gang g's leader has the id 100 + g

LedgerEntry Generation(int64_t unix_micros, const std::vector<int>& gangs) {
  LedgerEntry entry;
  entry.set_unix_micros(unix_micros);
  entry.mutable_generation();
  for (const int gang : gangs) {
    GangStatus& status = *entry.mutable_generation()->add_gangs();
    status.set_gang(gang);
    status.set_name(absl::StrCat("host:", kPidOfGang + gang));
  }
  return entry;
}

LedgerEntry CommitOf(int64_t unix_micros, int64_t step) {
  LedgerEntry entry;
  entry.set_unix_micros(unix_micros);
  entry.mutable_commit()->mutable_report()->set_step(step);
  return entry;
}

LedgerEntry VoidOf(int64_t unix_micros, int64_t from, int64_t to) {
  LedgerEntry entry;
  entry.set_unix_micros(unix_micros);
  entry.mutable_voided()->set_from_step(from);
  entry.mutable_voided()->set_to_step(to);
  return entry;
}

// Slot 3 of step 5, finished by gang 1 at 20 and by gang 2 at 60.
Recomputation JudgeTwice(const std::vector<LedgerEntry>& ledger) {
  std::vector<std::map<pid_t, std::vector<PhaseMark>>> gangs(2);
  gangs[0][kPidOfGang + 1] = {{20, "between", 5, 3}, {21, "reduce", 5, -1}};
  gangs[1][kPidOfGang + 2] = {{60, "between", 5, 3}};
  return JudgeRecomputation(ledger, gangs);
}

TEST(RecomputationTest, ASlotThatIsDoneTwiceForNothingIsAProblem) {
  const Recomputation work =
      JudgeTwice({Generation(1, {1, 2}), CommitOf(10, 4), CommitOf(70, 5), Generation(80, {2})});
  EXPECT_EQ(work.problem,
            "slot 3 of step 5 was computed 2 times though nobody lost it: by process 101 at 20 by "
            "process 102 at 60");
  EXPECT_EQ(work.recomputed, 1);
  EXPECT_EQ(work.lost, 0);
}

TEST(RecomputationTest, WhoLeavesBeforeTheCommitLosesItsSlots) {
  const Recomputation work =
      JudgeTwice({Generation(1, {1, 2}), CommitOf(10, 4), Generation(40, {2}), CommitOf(70, 5)});
  EXPECT_EQ(work.problem, "");
  EXPECT_EQ(work.finished, 2);
  EXPECT_EQ(work.lost, 1);
  EXPECT_EQ(work.recomputed, 1);
}

TEST(RecomputationTest, WhoIsNoMemberHasNothingThatLasts) {
  EXPECT_EQ(JudgeTwice({Generation(1, {2}), CommitOf(10, 4), CommitOf(70, 5)}).problem, "");
}

TEST(RecomputationTest, AVoidedStepIsLostEvenAfterItsCommit) {
  EXPECT_EQ(JudgeTwice({Generation(1, {1, 2}), CommitOf(30, 5), VoidOf(50, 5, 5), CommitOf(70, 5)})
                .problem,
            "");
}

}  // namespace
}  // namespace liquid::testing
