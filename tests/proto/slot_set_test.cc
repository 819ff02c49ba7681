#include "proto/slot_set.h"

#include <limits>
#include <random>
#include <set>
#include <utility>
#include <vector>

#include "gmock/gmock.h"

namespace liquid {
namespace {

constexpr int kHuge = std::numeric_limits<int>::max();
constexpr int kLowest = std::numeric_limits<int>::min();

SlotRanges Ranges(const std::vector<std::pair<int, int>>& pairs) {
  SlotRanges ranges;
  for (const auto& [begin, end] : pairs) {
    SlotRange& range = *ranges.Add();
    range.set_begin(begin);
    range.set_end(end);
  }
  return ranges;
}

SlotSet Set(const std::vector<std::pair<int, int>>& pairs) {
  SlotSet set;
  for (const auto& [begin, end] : pairs) set.Add(begin, end);
  return set;
}

TEST(SlotSetTest, AnEmptySetHasNothing) {
  const SlotSet none;
  EXPECT_TRUE(none.empty());
  EXPECT_EQ(none.size(), 0);
  EXPECT_EQ(none.end(), 0);
  EXPECT_FALSE(none.Contains(0));
  EXPECT_TRUE(none.Contains(none)) << "all of nothing";
  EXPECT_FALSE(none.Overlaps(none));
  EXPECT_TRUE(none.Last(3).empty());
  EXPECT_EQ(none.ToRanges().size(), 0);
  EXPECT_EQ(SlotSet(4, 4), none);
  EXPECT_EQ(SlotSet(5, 4), none);
}

TEST(SlotSetTest, RangesThatTouchOrOverlapAreOne) {
  EXPECT_EQ(Set({{0, 2}, {2, 4}}), SlotSet(0, 4));
  EXPECT_EQ(Set({{2, 4}, {0, 2}}), SlotSet(0, 4));
  EXPECT_EQ(Set({{0, 3}, {1, 4}}), SlotSet(0, 4));
  EXPECT_EQ(Set({{1, 2}, {3, 4}, {5, 6}, {0, 9}}), SlotSet(0, 9));
  EXPECT_EQ(Set({{0, 9}, {3, 4}}), SlotSet(0, 9));
  EXPECT_EQ(Set({{0, 1}, {2, 3}}).ranges().size(), 2u);
  EXPECT_EQ(Set({{0, 1}, {2, 3}}).size(), 2);
  EXPECT_EQ(Set({{1, 2}, {3, 4}, {5, 6}, {0, 9}}).size(), 9);
}

TEST(SlotSetTest, RemovalSplitsAndShortensRanges) {
  SlotSet set(0, 10);
  set.Remove(3, 5);
  EXPECT_EQ(set, Set({{0, 3}, {5, 10}}));
  set.Remove(2, 6);
  EXPECT_EQ(set, Set({{0, 2}, {6, 10}}));
  set.Remove(0, 1);
  set.Remove(9, 20);
  EXPECT_EQ(set, Set({{1, 2}, {6, 9}}));
  EXPECT_EQ(set.size(), 4);
  set.Remove(2, 6);  // what is not in
  set.Remove(8, 7);  // nothing
  EXPECT_EQ(set.size(), 4);
  set.Remove(SlotSet(0, 10));
  EXPECT_TRUE(set.empty());
  EXPECT_EQ(set.size(), 0);
}

TEST(SlotSetTest, NeighboursDoNotOverlap) {
  const SlotSet set = Set({{2, 4}, {6, 8}});
  EXPECT_FALSE(set.Overlaps(SlotSet(0, 2)));
  EXPECT_FALSE(set.Overlaps(SlotSet(4, 6)));
  EXPECT_FALSE(set.Overlaps(SlotSet(8, 10)));
  EXPECT_TRUE(set.Overlaps(SlotSet(3, 6)));
  EXPECT_TRUE(set.Overlaps(SlotSet(5, 7)));
  EXPECT_TRUE(set.Overlaps(SlotSet(0, 10)));
  EXPECT_TRUE(SlotSet(0, 10).Overlaps(set));
  EXPECT_TRUE(set.Contains(SlotSet(6, 8)));
  EXPECT_FALSE(set.Contains(SlotSet(3, 7)));
  EXPECT_FALSE(set.Contains(SlotSet(7, 9)));
  EXPECT_FALSE(set.Contains(4));
  EXPECT_FALSE(set.Contains(-1));
}

TEST(SlotSetTest, TheHighestSlotsAreTakenAcrossRanges) {
  const SlotSet set = Set({{0, 3}, {5, 7}});
  EXPECT_EQ(set.Last(0), SlotSet());
  EXPECT_EQ(set.Last(-1), SlotSet());
  EXPECT_EQ(set.Last(1), SlotSet(6, 7));
  EXPECT_EQ(set.Last(3), Set({{2, 3}, {5, 7}}));
  EXPECT_EQ(set.Last(kHuge), set);
  EXPECT_EQ(set.end(), 7);
}

TEST(SlotSetTest, WhatAMessageSaysComesBack) {
  const auto set = SlotSet::FromRanges(Ranges({{5, 7}, {0, 3}, {3, 4}}));
  ASSERT_TRUE(set.has_value());
  EXPECT_EQ(*set, Set({{0, 4}, {5, 7}}));
  const SlotRanges ranges = set->ToRanges();
  ASSERT_EQ(ranges.size(), 2);
  EXPECT_EQ(ranges[0].end(), 4);
  EXPECT_EQ(ranges[1].begin(), 5);
  EXPECT_EQ(SlotSet::FromRanges(ranges), *set);
  EXPECT_EQ(SlotSet::FromRanges(Ranges({})), SlotSet());
}

TEST(SlotSetTest, GarbageFromTheWireIsRefused) {
  for (const auto& pairs : std::vector<std::vector<std::pair<int, int>>>{
           {{4, 4}},                  // empty
           {{0, 0}},                  // what a message without fields says
           {{5, 4}},                  // backwards
           {{-1, 4}},                 // negative
           {{-4, -1}},                //
           {{kLowest, kHuge}},        // its length is no int
           {{kHuge, kLowest}},        //
           {{kLowest, kLowest + 1}},  //
           {{0, 4}, {0, 4}},          // twice
           {{0, 4}, {3, 5}},          // slot 3 twice
           {{3, 5}, {0, 4}},          //
           {{0, 10}, {4, 5}},         // inside
           {{4, 5}, {0, 10}},         //
           {{0, kHuge}, {7, 8}},      //
           {{7, 8}, {0, kHuge}},      //
           {{0, kHuge}, {0, kHuge}}}) {
    EXPECT_FALSE(SlotSet::FromRanges(Ranges(pairs)).has_value())
        << pairs.front().first << " to " << pairs.front().second;
  }
}

TEST(SlotSetTest, AHugeRangeCostsNoMore) {
  const auto set = SlotSet::FromRanges(Ranges({{1, kHuge}, {0, 1}}));
  ASSERT_TRUE(set.has_value());
  EXPECT_EQ(set->size(), kHuge);
  EXPECT_EQ(set->ranges().size(), 1u);
  EXPECT_EQ(set->end(), kHuge);
  EXPECT_FALSE(SlotSet(0, 8).Contains(*set));
}

TEST(SlotSetTest, IsWhatASetOfNumbersIs) {
  constexpr int kSlots = 24;
  std::mt19937 random(1);
  SlotSet set;
  std::set<int> numbers;
  for (int i = 0; i < 3000; ++i) {
    const auto draw = [&](int bound) { return static_cast<int>(random() % bound); };
    const int begin = draw(kSlots);
    const int end = draw(kSlots + 1);
    const bool adds = draw(2) == 0;
    adds ? set.Add(begin, end) : set.Remove(begin, end);
    for (int slot = begin; slot < end; ++slot) {
      if (adds) {
        numbers.insert(slot);
      } else {
        numbers.erase(slot);
      }
    }
    ASSERT_EQ(set.size(), static_cast<int>(numbers.size())) << "after " << i;
    for (int slot = 0; slot < kSlots; ++slot) {
      ASSERT_EQ(set.Contains(slot), numbers.contains(slot)) << "slot " << slot << " after " << i;
    }
    int previous_end = -1;
    for (const auto& [range_begin, range_end] : set.ranges()) {
      ASSERT_GT(range_begin, previous_end) << "ranges touch after " << i;
      previous_end = range_end;
    }
  }
}

}  // namespace
}  // namespace liquid
