#include "coordinator/slot_audit.h"

#include "gmock/gmock.h"

namespace liquid {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(IsAuditedTest, IsOneSlotInSoMany) {
  for (const int64_t every : {1, 7, 100}) {
    int64_t count = 0;
    for (int64_t step = 1; step <= 1000; ++step) {
      for (int slot = 0; slot < 100; ++slot) count += IsAudited(5, step, slot, every) ? 1 : 0;
    }
    EXPECT_NEAR(static_cast<double>(count), 100'000.0 / static_cast<double>(every), 400) << every;
  }
  EXPECT_FALSE(IsAudited(5, 1, 1, 0));
}

TEST(IsAuditedTest, DependsOnSeedStepAndSlot) {
  EXPECT_NE(AuditHash(1, 2, 3), AuditHash(2, 2, 3));
  EXPECT_NE(AuditHash(1, 2, 3), AuditHash(1, 3, 3));
  EXPECT_NE(AuditHash(1, 2, 3), AuditHash(1, 2, 4));
  EXPECT_EQ(AuditHash(1, 2, 3), 0xd0734750fde362b3u);  // the same in every build
}

TEST(DisputeTest, AThirdGangDecides) {
  Dispute dispute(1, "a", 2, "b");
  EXPECT_FALSE(dispute.Decide().has_value());
  EXPECT_THAT(dispute.AskNext({3, 4}), ElementsAre(3));
  EXPECT_FALSE(dispute.Decide().has_value());
  EXPECT_THAT(dispute.AskNext({3, 4}), IsEmpty());  // it is waited for
  dispute.Vote(4, "a");                             // was not asked
  EXPECT_FALSE(dispute.Decide().has_value());
  dispute.Vote(3, "b");
  ASSERT_TRUE(dispute.Decide().has_value());
  EXPECT_THAT(dispute.Decide()->liars, ElementsAre(1));
}

TEST(DisputeTest, ThreeAnswersAreNoMajorityAndAFourthIsAsked) {
  Dispute dispute(1, "a", 2, "b");
  dispute.AskNext({3, 4});
  dispute.Vote(3, "c");
  EXPECT_FALSE(dispute.Decide().has_value());
  EXPECT_THAT(dispute.AskNext({3, 4}), ElementsAre(4));
  dispute.Vote(4, "b");  // two of four: no more than a half
  EXPECT_FALSE(dispute.Decide().has_value());
  EXPECT_THAT(dispute.AskNext({3, 4}), ElementsAre(1, 2));
  dispute.Vote(1, "a");
  EXPECT_FALSE(dispute.Decide().has_value());  // the other one's word is missing
  dispute.Vote(2, "b");
  ASSERT_TRUE(dispute.Decide().has_value());
}

TEST(DisputeTest, OfTwoAloneWhoContradictsItselfLies) {
  Dispute dispute(1, "a", 2, "b");
  EXPECT_THAT(dispute.AskNext({}), ElementsAre(1, 2));
  dispute.Vote(1, "b");
  dispute.Vote(2, "b");
  ASSERT_TRUE(dispute.Decide().has_value());
  EXPECT_THAT(dispute.Decide()->liars, ElementsAre(1));
}

TEST(DisputeTest, OfTwoAloneWhoStickToTheirWordsNobodyIsNamed) {
  Dispute dispute(1, "a", 2, "b");
  dispute.AskNext({});
  dispute.Vote(1, "a");
  dispute.Vote(2, "b");
  ASSERT_TRUE(dispute.Decide().has_value());
  EXPECT_THAT(dispute.Decide()->liars, IsEmpty());
  EXPECT_THAT(dispute.AskNext({3}), IsEmpty());  // it is over
}

}  // namespace
}  // namespace liquid
