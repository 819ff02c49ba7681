// A share of the schedules that bench/coordinator/simulate runs.
#include "gmock/gmock.h"
#include "tests/coordinator/simulation.h"

namespace liquid {
namespace {

using ::liquid::testing::Simulation;
using ::liquid::testing::SimulationCounts;

constexpr uint64_t kNumSchedules = 3000;

TEST(JobSimulationTest, EveryScheduleEndsWithEveryStepCommittedOnce) {
  SimulationCounts counts;
  for (uint64_t seed = 1; seed <= kNumSchedules && !HasFailure(); ++seed) {
    Simulation simulation(seed);
    simulation.Run();
    EXPECT_THAT(simulation.violations(), ::testing::IsEmpty()) << "seed " << seed << "\n"
                                                               << simulation.Trace();
    counts.Add(simulation.counts());
  }
  // The schedules did have something to survive.
  EXPECT_GT(counts.kills, 3000);
  EXPECT_GT(counts.joins, 10000);
  EXPECT_GT(counts.coordinator_crashes, 1000);
  EXPECT_GT(counts.steals, 1000);
  EXPECT_GT(counts.kept_slots, 2000);
  EXPECT_GT(counts.late_messages, 500);
  EXPECT_GT(counts.liars_found, 100);
  EXPECT_GT(counts.audits, 10000);
  EXPECT_GT(counts.stuck, 1000);
  EXPECT_GT(counts.hedges, 50);
}

TEST(JobSimulationTest, NobodyWaitsForAGangThatIsStuckInASlot) {
  for (uint64_t seed = 1; seed <= 300 && !HasFailure(); ++seed) {
    Simulation simulation(seed, /*min_epochs=*/20);
    simulation.RunWithAStuckGang();
    EXPECT_THAT(simulation.violations(), ::testing::IsEmpty()) << "seed " << seed << "\n"
                                                               << simulation.Trace();
    EXPECT_GE(simulation.counts().hedges, 1);
  }
}

}  // namespace
}  // namespace liquid
