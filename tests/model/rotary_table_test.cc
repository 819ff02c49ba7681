#include "model/rotary_table.h"

#include <cmath>
#include <numbers>
#include <vector>

#include "gtest/gtest.h"
#include "tests/testing/status_matchers.h"

namespace liquid {
namespace {

TEST(RotaryTableTest, FrequenciesFallFromOneByPowersOfTheBase) {
  const std::vector<double> frequencies = RotaryFrequencies({.theta = 10000}, 8);
  const std::vector<double> expected = {1, 0.1, 0.01, 0.001};
  ASSERT_EQ(frequencies.size(), 4u);
  for (int i = 0; i < 4; ++i) EXPECT_NEAR(frequencies[i], expected[i], 1e-15);
}

TEST(RotaryTableTest, LinearScalingDividesAll) {
  const RopeConfig rope = {.theta = 10000, .scaling = RopeConfig::Scaling::kLinear, .factor = 4};
  EXPECT_NEAR(RotaryFrequencies(rope, 8)[1], 0.025, 1e-15);
}

// One pair in each band, and the blend between them at its two ends.
TEST(RotaryTableTest, Llama3ScalingKeepsShortWavesAndStretchesLongOnes) {
  RopeConfig rope = {.theta = 10000,
                     .scaling = RopeConfig::Scaling::kLlama3,
                     .factor = 8,
                     .low_freq_factor = 1,
                     .high_freq_factor = 4};
  const double wavelength = 2 * std::numbers::pi / 0.1;  // of pair 1
  rope.original_max_position_embeddings = 4.001 * wavelength;
  EXPECT_NEAR(RotaryFrequencies(rope, 8)[1], 0.1, 1e-15);
  rope.original_max_position_embeddings = 3.999 * wavelength;
  EXPECT_NEAR(RotaryFrequencies(rope, 8)[1], 0.1, 1e-4);
  rope.original_max_position_embeddings = 2.5 * wavelength;
  EXPECT_NEAR(RotaryFrequencies(rope, 8)[1], 0.5 * 0.1 / 8 + 0.5 * 0.1, 1e-12);
  rope.original_max_position_embeddings = 0.999 * wavelength;
  EXPECT_NEAR(RotaryFrequencies(rope, 8)[1], 0.1 / 8, 1e-15);
}

TEST(RotaryTableTest, TablesGrowAndKeepTheirValues) {
  auto device = CreateCpuDevice();
  auto stream = device->CreateStream();
  ASSERT_THAT(stream, testing::IsOk());
  TensorPool pool(*device);
  RotaryTable table({.theta = 100}, 4);
  for (const int64_t positions : {3, 700, 5}) {
    table.Reserve(positions, pool, **stream);
    ASSERT_GE(table.cos().shape[0], positions);
    for (const int64_t p : {int64_t{0}, int64_t{2}, positions - 1}) {
      const double angle = static_cast<double>(p) * 0.1;
      EXPECT_EQ(table.cos().f32()[p * 2 + 1], static_cast<float>(std::cos(angle)));
      EXPECT_EQ(table.sin().f32()[p * 2 + 1], static_cast<float>(std::sin(angle)));
    }
  }
}

}  // namespace
}  // namespace liquid
