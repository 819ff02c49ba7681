#include "worker/slot_exchange.h"

#include <limits>
#include <utility>
#include <vector>

#include "gmock/gmock.h"

namespace liquid {
namespace {

SlotsDone Word(int64_t step, const std::vector<std::pair<int, int>>& ranges) {
  SlotsDone word;
  word.set_step(step);
  for (const auto& [begin, end] : ranges) {
    SlotRange* range = word.add_slots();
    range->set_begin(begin);
    range->set_end(end);
  }
  return word;
}

TEST(SlotExchangeTest, AReductionNeedsEverySlotOnceAndEveryGang) {
  SlotExchange exchange(3, 6);
  exchange.Hear(0, Word(5, {{0, 3}}));
  exchange.Hear(1, Word(5, {{3, 6}}));
  EXPECT_FALSE(exchange.AllDone(5)) << "the third gang has not spoken";
  exchange.Hear(2, Word(5, {}));
  EXPECT_TRUE(exchange.AllDone(5));
  EXPECT_FALSE(exchange.AllDone(6));
  exchange.Hear(2, Word(5, {{5, 6}}));
  EXPECT_FALSE(exchange.AllDone(5)) << "slot 5 is there twice";
}

TEST(SlotExchangeTest, AGangThatIsGivenMoreSpeaksAgain) {
  SlotExchange exchange(2, 4);
  exchange.Hear(0, Word(1, {{0, 1}}));
  exchange.Hear(1, Word(1, {{2, 4}}));
  EXPECT_FALSE(exchange.AllDone(1)) << "slot 1 is missing";
  exchange.Hear(0, Word(1, {{0, 2}}));
  EXPECT_TRUE(exchange.AllDone(1));
}

TEST(SlotExchangeTest, ASlotThatIsAuditedIsDoneOnceTwoGangsSaySo) {
  SlotExchange exchange(2, 4);
  SlotsDone owner = Word(1, {{0, 2}});
  (*owner.mutable_digests())[1] = "x";
  exchange.Hear(0, owner);
  SlotsDone auditor = Word(1, {{2, 4}});
  exchange.Hear(1, auditor);
  EXPECT_FALSE(exchange.AllDone(1));
  (*auditor.mutable_digests())[1] = "x";
  exchange.Hear(1, auditor);
  EXPECT_TRUE(exchange.AllDone(1));
}

TEST(SlotExchangeTest, ASlotOutOfRangeIsNeverDone) {
  SlotExchange exchange(1, 4);
  const int huge = std::numeric_limits<int>::max();
  for (const auto& ranges : std::vector<std::vector<std::pair<int, int>>>{
           {{0, 5}}, {{-1, 4}}, {{0, huge}}, {{-huge, huge}}, {{0, 3}, {2, 4}}, {{4, 0}}, {}}) {
    exchange.Hear(0, Word(1, ranges));
    EXPECT_FALSE(exchange.AllDone(1));
  }
  exchange.Hear(0, Word(1, {{2, 4}, {0, 2}}));
  EXPECT_TRUE(exchange.AllDone(1)) << "in any order";
}

TEST(SlotExchangeTest, FindsTwoGangsThatDisagreeOnASlot) {
  SlotExchange exchange(3, 3);
  SlotsDone a = Word(1, {{0, 2}});
  (*a.mutable_digests())[1] = "x";
  SlotsDone b = Word(1, {{2, 3}});
  (*b.mutable_digests())[1] = "x";
  exchange.Hear(0, a);
  exchange.Hear(1, b);
  exchange.Hear(2, Word(1, {}));
  EXPECT_FALSE(exchange.FindDisagreement(1).has_value());
  (*b.mutable_digests())[1] = "y";
  exchange.Hear(1, b);
  const auto found = exchange.FindDisagreement(1);
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->slot, 1);
  EXPECT_EQ(found->place_a, 0);
  EXPECT_EQ(found->place_b, 1);
  EXPECT_EQ(found->digest_b, "y");
}

}  // namespace
}  // namespace liquid
