// A share of the chaos suite that fits a test run; bench/chaos runs hundreds.
#include <array>
#include <cstdint>
#include <numeric>
#include <thread>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/chaos/chaos_schedule.h"
#include "tests/system/liquid_process.h"

namespace liquid::testing {
namespace {

constexpr std::array<uint64_t, 2> kSeeds = {1, 3};

TEST(ChaosTest, WhateverHappensTheResultIsTheSame) {
  const TemporaryDirectory directory;
  const ChaosJob job(directory.path());
  ASSERT_NE(job.fingerprint(), "") << job.problem();
  std::array<ChaosResult, kSeeds.size()> results;
  {
    std::array<std::jthread, kSeeds.size()> threads;  // they wait most of the time
    for (size_t i = 0; i < kSeeds.size(); ++i) {
      threads[i] = std::jthread([&, i] { results[i] = job.Run(kSeeds[i], absl::Seconds(90)); });
    }
  }
  ChaosCounts total;
  for (size_t i = 0; i < kSeeds.size(); ++i) {
    EXPECT_EQ(results[i].problem, "") << "seed " << kSeeds[i];
    total += results[i].counts;
  }
  EXPECT_GT(total.kills + total.freezes + total.drains + total.coordinator_kills, 5)
      << "the schedules had little to survive";
  EXPECT_GT(std::accumulate(total.hits.begin(), total.hits.end(), 0), 0) << "nobody was hit";
  EXPECT_GT(total.finished_slots, 0);
}

}  // namespace
}  // namespace liquid::testing
