#include "base/random.h"

#include <array>
#include <cmath>
#include <cstdint>
#include <vector>

#include "gtest/gtest.h"

namespace liquid {
namespace {

using Block = std::array<uint32_t, 4>;

// The known answers that the generator's authors published.
TEST(Philox4x32Test, GivesThePublishedAnswers) {
  EXPECT_EQ(Philox4x32({0, 0, 0, 0}, {0, 0}),
            (Block{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(Philox4x32({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
            (Block{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(Philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Block{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(CounterRandomTest, ValuesOfASeedNeverChange) {
  const CounterRandom random(7, 42);
  EXPECT_EQ(random.Uniform(0), 0.15187552089826217);
  EXPECT_EQ(random.Uniform(1), 0.1718830578081123);
  EXPECT_EQ(random.Normal(0), 0.270547777f);
  EXPECT_EQ(random.Normal(1), 0.506220937f);
}

TEST(CounterRandomTest, SeedStreamAndIndexAllMatter) {
  const double value = CounterRandom(1, 2).Uniform(3);
  EXPECT_NE(value, CounterRandom(2, 2).Uniform(3));
  EXPECT_NE(value, CounterRandom(1, 3).Uniform(3));
  EXPECT_NE(value, CounterRandom(1, 2).Uniform(4));
}

TEST(CounterRandomTest, FillingARangeGivesTheValuesOfItsPlaces) {
  const CounterRandom random(5, 6);
  for (const uint64_t first : {0, 1, 7, 8}) {
    for (const size_t count : {0, 1, 2, 5, 6}) {
      std::vector<float> filled(count);
      random.FillNormal(first, absl::MakeSpan(filled));
      for (size_t i = 0; i < count; ++i) EXPECT_EQ(filled[i], random.Normal(first + i));
    }
  }
}

TEST(CounterRandomTest, MomentsAreThoseOfTheDistributions) {
  const CounterRandom random(3, 0);
  constexpr int kCount = 100000;
  double uniform = 0, mean = 0, square = 0, fourth = 0;
  for (int i = 0; i < kCount; ++i) {
    const double u = random.Uniform(i);
    ASSERT_GE(u, 0);
    ASSERT_LT(u, 1);
    uniform += u;
    const double x = static_cast<double>(random.Normal(i));
    mean += x;
    square += x * x;
    fourth += x * x * x * x;
  }
  // Five standard deviations of each sum's mean.
  EXPECT_NEAR(uniform / kCount, 0.5, 5 * std::sqrt(1.0 / 12 / kCount));
  EXPECT_NEAR(mean / kCount, 0, 5 * std::sqrt(1.0 / kCount));
  EXPECT_NEAR(square / kCount, 1, 5 * std::sqrt(2.0 / kCount));
  EXPECT_NEAR(fourth / kCount, 3, 5 * std::sqrt(96.0 / kCount));
}

}  // namespace
}  // namespace liquid
