// A share of the chaos suite that fits a test run; bench/chaos runs hundreds.
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/chaos/chaos_schedule.h"
#include "tests/system/liquid_process.h"

namespace liquid::testing {
namespace {

constexpr int kNumSchedules = 4;

TEST(ChaosTest, WhateverHappensTheResultIsTheSame) {
  const TemporaryDirectory directory;
  const ChaosJob job(directory.path());
  ASSERT_NE(job.fingerprint(), "") << job.problem();
  ChaosCounts total;
  for (uint64_t seed = 1; seed <= kNumSchedules; ++seed) {
    const ChaosResult result = job.Run(seed, absl::Seconds(90));
    EXPECT_EQ(result.problem, "") << "seed " << seed;
    total += result.counts;
  }
  EXPECT_GT(total.kills + total.freezes + total.drains + total.coordinator_kills, 10)
      << "the schedules had little to survive";
}

}  // namespace
}  // namespace liquid::testing
