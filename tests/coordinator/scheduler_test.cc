#include "coordinator/scheduler.h"

#include <algorithm>
#include <numeric>
#include <random>

#include "gmock/gmock.h"

namespace liquid {
namespace {

using ::testing::ElementsAre;
using ::testing::Ge;

GangSpeed Speed(double slots_per_second, int num_kept = 0) {
  return {.gang = 0, .slots_per_second = slots_per_second, .num_kept = num_kept};
}

double SecondsOf(const std::vector<int>& counts, const std::vector<GangSpeed>& gangs) {
  double seconds = 0;
  for (size_t i = 0; i < counts.size(); ++i) {
    seconds = std::max(seconds, counts[i] / gangs[i].slots_per_second);
  }
  return seconds;
}

// Of all splits over three gangs.
double BestSeconds(int num_slots, const std::vector<GangSpeed>& gangs) {
  double best = 1e300;
  for (int a = 0; a <= num_slots; ++a) {
    for (int b = 0; a + b <= num_slots; ++b) {
      best = std::min(best, SecondsOf({a, b, num_slots - a - b}, gangs));
    }
  }
  return best;
}

TEST(SplitSlotsTest, NoSplitEndsSooner) {
  std::mt19937 random(1);
  std::uniform_real_distribution<double> rate(0.2, 5);
  for (int round = 0; round < 300; ++round) {
    const int num_slots = static_cast<int>(random() % 25);
    const std::vector<GangSpeed> gangs = {Speed(rate(random)), Speed(rate(random)),
                                          Speed(rate(random))};
    const std::vector<int> counts = SplitSlots(num_slots, gangs);
    EXPECT_EQ(std::accumulate(counts.begin(), counts.end(), 0), num_slots);
    EXPECT_LE(SecondsOf(counts, gangs), BestSeconds(num_slots, gangs) * 1.000001);
  }
}

TEST(SplitSlotsTest, AGangThatIsFiveTimesSlowerGetsAFifth) {
  EXPECT_THAT(SplitSlots(22, {Speed(5), Speed(5), Speed(1)}), ElementsAre(10, 10, 2));
}

TEST(SplitSlotsTest, WhatAGangKeepsIsPartOfItsShare) {
  EXPECT_THAT(SplitSlots(8, {Speed(1, 6), Speed(1)}), ElementsAre(6, 2));
  EXPECT_THAT(SplitSlots(8, {Speed(1, 2), Speed(1, 1)}), ElementsAre(4, 4));
  EXPECT_THAT(SplitSlots(8, {Speed(1, 8), Speed(9)}), ElementsAre(8, 0));
}

TEST(SplitSlotsTest, AnUnknownSpeedIsTheMeanOfTheKnown) {
  EXPECT_THAT(SplitSlots(12, {Speed(1), Speed(3), Speed(0)}), ElementsAre(2, 6, 4));
  EXPECT_THAT(SplitSlots(5, {Speed(0), Speed(0)}), ElementsAre(3, 2));
}

TEST(SplitSlotsTest, AGangToBeMeasuredGetsOneHoweverSlowItWas) {
  GangSpeed slow = Speed(0.01);
  EXPECT_THAT(SplitSlots(8, {Speed(1), slow}), ElementsAre(8, 0));
  slow.needs_one = true;
  EXPECT_THAT(SplitSlots(8, {Speed(1), slow}), ElementsAre(7, 1));
}

TEST(SplitSlotsTest, ASmallChangeOfSpeedChangesNothingALargeOneDoes) {
  GangSpeed a = Speed(1.04);
  GangSpeed b = Speed(1);
  a.num_before = b.num_before = 50;
  EXPECT_THAT(SplitSlots(100, {a, b}), ElementsAre(50, 50));
  a.slots_per_second = 1.2;
  EXPECT_THAT(SplitSlots(100, {a, b}), ElementsAre(55, 45));
  a.slots_per_second = 1.04;
  b.num_kept = 51;  // more than it had: no split for this step
  EXPECT_THAT(SplitSlots(100, {a, b}), ElementsAre(49, 51));
}

TEST(CutSlotsTest, DealsThemInOrder) {
  SlotSet open(2, 6);
  open.Add(8, 10);
  const std::vector<SlotSet> sets = CutSlots(open, {3, 0, 2, 1});
  EXPECT_EQ(sets[0], SlotSet(2, 5));
  EXPECT_TRUE(sets[1].empty());
  SlotSet third(5, 6);
  third.Add(8, 9);
  EXPECT_EQ(sets[2], third);
  EXPECT_EQ(sets[3], SlotSet(9, 10));
  EXPECT_DEATH(CutSlots(open, {7}), "CHECK failed");
}

TEST(SlotsToStealTest, SharesWhatIsNotBegunByTheSpeeds) {
  EXPECT_EQ(SlotsToSteal({.slots_per_second = 1, .num_left = 10}, 1), 5);
  EXPECT_EQ(SlotsToSteal({.slots_per_second = 1, .num_left = 10}, 4), 8);
  EXPECT_EQ(SlotsToSteal({.slots_per_second = 1, .num_left = 10, .seconds_ago = 4}, 1), 3);
  EXPECT_EQ(SlotsToSteal({.slots_per_second = 1, .num_left = 0}, 1), 0);
  EXPECT_EQ(SlotsToSteal({.slots_per_second = 1, .num_left = 1, .seconds_ago = 0.5}, 1), 0);
}

TEST(SlotsToStealTest, TakesNothingThatItWouldDoLater) {
  EXPECT_EQ(SlotsToSteal({.slots_per_second = 10, .num_left = 2}, 1), 0);
  EXPECT_EQ(SlotsToSteal({.slots_per_second = 1, .num_left = 2}, 1), 1);
}

TEST(SlotsToStealTest, OfOneThatIsLateItTakesSomeOfAHalf) {
  // It should have been done 10 seconds ago.
  EXPECT_THAT(SlotsToSteal({.slots_per_second = 1, .num_left = 8, .seconds_ago = 18}, 1), Ge(3));
}

}  // namespace
}  // namespace liquid
