#include "cli/restart_schedule.h"

#include <vector>

#include "gmock/gmock.h"

namespace liquid {
namespace {

using ::testing::ElementsAre;

constexpr absl::Duration kShort = absl::Seconds(3);

TEST(RestartSchedule, WaitsTwiceAsLongEachTimeUpToAMinute) {
  RestartSchedule schedule({.delay = absl::Seconds(1), .max_restarts = 9});
  std::vector<double> seconds;
  while (const auto delay = schedule.AfterEnd(kShort)) {
    seconds.push_back(absl::ToDoubleSeconds(*delay));
  }
  EXPECT_THAT(seconds, ElementsAre(1, 2, 4, 8, 16, 32, 60, 60, 60));
  EXPECT_EQ(schedule.num_restarts(), 9);
}

TEST(RestartSchedule, WhatRanLongBeginsAnew) {
  RestartSchedule schedule({.delay = absl::Seconds(2), .max_restarts = 2});
  EXPECT_EQ(schedule.AfterEnd(kShort), absl::Seconds(2));
  EXPECT_EQ(schedule.AfterEnd(kShort), absl::Seconds(4));
  EXPECT_EQ(schedule.AfterEnd(kProvenAfter), absl::Seconds(2));
  EXPECT_EQ(schedule.AfterEnd(kShort), absl::Seconds(4));
  EXPECT_EQ(schedule.AfterEnd(kShort), std::nullopt);
}

TEST(RestartSchedule, NoRestartsMeansNone) {
  EXPECT_EQ(RestartSchedule({.max_restarts = 0}).AfterEnd(kShort), std::nullopt);
  EXPECT_EQ(RestartSchedule({.max_restarts = 0}).AfterEnd(absl::Hours(1)), std::nullopt);
}

TEST(RestartSchedule, ALongDelayIsCutToo) {
  RestartSchedule schedule({.delay = absl::Seconds(90), .max_restarts = 2000});
  for (int i = 0; i < 2000; ++i) EXPECT_EQ(schedule.AfterEnd(kShort), kMaxRestartDelay);
}

TEST(GoneForGood, AGangIfAnotherStartWouldEndTheSame) {
  for (const int code : {0, 2, 3, 5, 9, 75}) EXPECT_TRUE(IsGangGoneForGood(code)) << code;
  for (const int code : {1, 4, 6, 7, 8, 127, 134, 137, 143}) {
    EXPECT_FALSE(IsGangGoneForGood(code)) << code;
  }
}

TEST(GoneForGood, ACoordinatorUnlessItCrashedOrFoundItsAddressTaken) {
  for (const int code : {0, 2, 3, 4, 5, 6, 8, 9, 75}) {
    EXPECT_TRUE(IsCoordinatorGoneForGood(code)) << code;
  }
  for (const int code : {1, 7, 127, 134, 137}) EXPECT_FALSE(IsCoordinatorGoneForGood(code)) << code;
}

}  // namespace
}  // namespace liquid
