#include "model/sampler.h"

#include <cmath>
#include <limits>
#include <map>
#include <vector>

#include "gtest/gtest.h"

namespace liquid {
namespace {

const std::vector<float> kLogits = {1.0f, 3.0f, 2.0f, -1.0f, 3.0f};

// How often each token came up in `count` draws.
std::map<int32_t, int> Draw(const SamplerOptions& options, int count) {
  std::map<int32_t, int> counts;
  for (int i = 0; i < count; ++i) ++counts[SampleToken(kLogits, options, i)];
  return counts;
}

TEST(SamplerTest, GreedyTakesTheFirstOfTheLikeliest) {
  EXPECT_EQ(SampleToken(kLogits, {}, 0), 1);
  EXPECT_EQ(SampleToken(kLogits, {.top_p = 0.1, .seed = 9}, 5), 1);
}

TEST(SamplerTest, FrequenciesAreTheSoftmaxAtTheTemperature) {
  constexpr int kCount = 20000;
  const auto counts = Draw({.temperature = 2.0, .seed = 4}, kCount);
  double total = 0;
  for (const float logit : kLogits) total += std::exp(static_cast<double>(logit) / 2);
  for (int32_t id = 0; id < 5; ++id) {
    const double p = std::exp(static_cast<double>(kLogits[id]) / 2) / total;
    EXPECT_NEAR(counts.at(id), p * kCount, 5 * std::sqrt(kCount * p * (1 - p))) << id;
  }
}

TEST(SamplerTest, TopKLeavesTheKLikeliest) {
  const auto counts = Draw({.temperature = 5.0, .top_k = 2, .seed = 1}, 300);
  EXPECT_EQ(counts.size(), 2u);
  EXPECT_TRUE(counts.contains(1) && counts.contains(4));
}

TEST(SamplerTest, TopPLeavesTheFewestThatReachIt) {
  // At temperature 1 the likeliest two have 0.397 each, the third 0.146.
  EXPECT_EQ(Draw({.temperature = 1.0, .top_p = 0.35, .seed = 1}, 300).size(), 1u);
  EXPECT_EQ(Draw({.temperature = 1.0, .top_p = 0.75, .seed = 1}, 300).size(), 2u);
  EXPECT_EQ(Draw({.temperature = 1.0, .top_p = 0.9, .seed = 1}, 300).size(), 3u);
}

TEST(SamplerTest, ADrawIsAFunctionOfSeedAndIndex) {
  const SamplerOptions options = {.temperature = 3.0, .seed = 8};
  std::vector<int32_t> first, second;
  for (int i = 0; i < 50; ++i) first.push_back(SampleToken(kLogits, options, i));
  for (int i = 49; i >= 0; --i) second.insert(second.begin(), SampleToken(kLogits, options, i));
  EXPECT_EQ(first, second);
  EXPECT_NE(Draw(options, 50), Draw({.temperature = 3.0, .seed = 9}, 50));
}

TEST(SamplerTest, NotANumberIsNeverDrawn) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> logits = {nan, 0.0f, nan};
  EXPECT_EQ(SampleToken(logits, {}, 0), 1);
  for (int i = 0; i < 50; ++i) EXPECT_EQ(SampleToken(logits, {.temperature = 10.0}, i), 1);
}

}  // namespace
}  // namespace liquid
