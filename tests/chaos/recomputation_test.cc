#include "tests/chaos/recomputation.h"

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace liquid::testing {
namespace {

constexpr int kPidOfGang = 100;  // gang g's leader has the id 100 + g

LedgerEntry Generation(int64_t number, const std::vector<int>& gangs) {
  LedgerEntry entry;
  entry.mutable_generation()->set_generation(number);
  for (const int gang : gangs) {
    GangStatus& status = *entry.mutable_generation()->add_gangs();
    status.set_gang(gang);
    status.set_name(absl::StrCat("host:", kPidOfGang + gang));
  }
  return entry;
}

LedgerEntry CommitOf(int64_t step) {
  LedgerEntry entry;
  entry.mutable_commit()->mutable_report()->set_step(step);
  return entry;
}

LedgerEntry VoidOf(int64_t from, int64_t to) {
  LedgerEntry entry;
  entry.mutable_voided()->set_from_step(from);
  entry.mutable_voided()->set_to_step(to);
  return entry;
}

// Slot 3 of step 5, finished by gang 1 in generation `first` and by gang 2 in generation `second`.
Recomputation JudgeTwice(const std::vector<LedgerEntry>& ledger, int64_t first = 1,
                         int64_t second = 1) {
  std::vector<std::map<pid_t, std::vector<PhaseMark>>> gangs(2);
  gangs[0][kPidOfGang + 1] = {
      {10, "generation", first, -1}, {20, "between", 5, 3}, {21, "reduce", 5, -1}};
  gangs[1][kPidOfGang + 2] = {{50, "generation", second, -1}, {60, "between", 5, 3}};
  return JudgeRecomputation(ledger, gangs);
}

TEST(RecomputationTest, ASlotThatIsDoneTwiceForNothingIsAProblem) {
  const Recomputation work =
      JudgeTwice({Generation(1, {1, 2}), CommitOf(4), CommitOf(5), Generation(2, {2})});
  EXPECT_EQ(work.problem,
            "slot 3 of step 5 was computed 2 times though nobody lost it: by process 101 at 20 by "
            "process 102 at 60");
  EXPECT_EQ(work.recomputed, 1);
  EXPECT_EQ(work.lost, 0);
}

TEST(RecomputationTest, WhoStaysKeepsItsSlotsThroughEveryGeneration) {
  EXPECT_NE(JudgeTwice({Generation(1, {1, 3}), CommitOf(4), Generation(2, {1}),
                        Generation(3, {1, 2}), CommitOf(5)},
                       1, 3)
                .problem,
            "");
}

TEST(RecomputationTest, WhoLeavesBeforeTheCommitLosesItsSlots) {
  const Recomputation work =
      JudgeTwice({Generation(1, {1, 2}), CommitOf(4), Generation(2, {2}), CommitOf(5)}, 1, 2);
  EXPECT_EQ(work.problem, "");
  EXPECT_EQ(work.finished, 2);
  EXPECT_EQ(work.lost, 1);
  EXPECT_EQ(work.recomputed, 1);
}

// Thawed, it goes on with what it was told before it was gone around.
TEST(RecomputationTest, WhoComesBackHasLostWhatItDidOutside) {
  EXPECT_EQ(JudgeTwice({Generation(1, {1, 2}), CommitOf(4), Generation(2, {2}),
                        Generation(3, {1, 2}), CommitOf(5)},
                       1, 3)
                .problem,
            "");
}

TEST(RecomputationTest, AVoidedStepIsLostEvenAfterItsCommit) {
  EXPECT_EQ(JudgeTwice({Generation(1, {1, 2}), CommitOf(5), VoidOf(5, 5), CommitOf(5)}).problem,
            "");
}

}  // namespace
}  // namespace liquid::testing
