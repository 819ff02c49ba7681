#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "tests/kernels/reference.h"
#include "tests/testing/devices.h"

namespace liquid {
namespace {

using testing::Concatenate;
using testing::ExpectClose;
using testing::Random;

constexpr int64_t kCount = 40003;  // several chunks and a tail of every vector width
constexpr int64_t kNoLimit = int64_t{1} << 62;

class OptimizerTest : public testing::OnEachDevice {
 protected:
  PooledTensor Zeros() { return UploadAs(std::vector<int64_t>(kCount), DType::kI64, {kCount}); }
};
INSTANTIATE_TEST_SUITE_P(, OptimizerTest, testing::AllDevices(), testing::DeviceName);

// Gradients of every size that training meets, down to far below a unit of the fixed point.
std::vector<float> Gradients(uint32_t seed) {
  std::vector<float> g = Random(kCount, seed);
  for (size_t i = 0; i < g.size(); ++i) g[i] = std::ldexp(g[i], -static_cast<int>(i % 70) + 10);
  return g;
}

TEST_P(OptimizerTest, FixedPointHoldsTheRoundedGradient) {
  const std::vector<float> g = Gradients(1);
  auto sum = Zeros();
  auto flag = UploadInts({0});
  ops_->Accumulate(sum.view(), Upload(g, {kCount}).view(), kNoLimit,
                   static_cast<int32_t*>(flag.view().data));
  const std::vector<int64_t> sums = Download<int64_t>(sum);
  for (int64_t i = 0; i < kCount; ++i) {
    ASSERT_EQ(sums[i], std::llrint(std::ldexp(double{g[i]}, 50))) << g[i];
  }
  EXPECT_EQ(Download<int32_t>(flag)[0], 0);
}

TEST_P(OptimizerTest, FixedPointSumsAreIndependentOfTheOrder) {
  std::vector<PooledTensor> gradients;
  for (uint32_t seed = 1; seed <= 6; ++seed) gradients.push_back(Upload(Gradients(seed), {kCount}));
  auto flag = UploadInts({0});
  std::vector<int64_t> first;
  for (const std::vector<int>& order :
       {std::vector<int>{0, 1, 2, 3, 4, 5}, {5, 4, 3, 2, 1, 0}, {3, 0, 5, 1, 4, 2}}) {
    auto sum = Zeros();
    for (const int n : order) {
      ops_->Accumulate(sum.view(), gradients[n].view(), kNoLimit,
                       static_cast<int32_t*>(flag.view().data));
    }
    if (first.empty()) first = Download<int64_t>(sum);
    EXPECT_EQ(Download<int64_t>(sum), first);
  }
}

TEST_P(OptimizerTest, AccumulateClampsAndFlagsWhatDoesNotFit) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const int64_t limit = int64_t{1} << 52;  // 4.0
  struct Case {
    float gradient;
    int64_t expected;
    int32_t flag;
  };
  const std::vector<Case> cases = {{4.0f, limit, 0},      {-4.0f, -limit, 0},  {4.5f, limit, 1},
                                   {-1e30f, -limit, 1},   {kInfinity, 0, 1},   {-kInfinity, 0, 1},
                                   {std::nanf(""), 0, 1}, {0.5f, limit / 8, 0}};
  for (const int64_t place : {int64_t{0}, int64_t{20000}, kCount - 1}) {
    for (const Case& c : cases) {
      SCOPED_TRACE(::testing::Message() << c.gradient << " at " << place);
      std::vector<float> g(kCount, 0.25f);
      g[place] = c.gradient;
      auto sum = Zeros();
      auto flag = UploadInts({0});
      ops_->Accumulate(sum.view(), Upload(g, {kCount}).view(), limit,
                       static_cast<int32_t*>(flag.view().data));
      std::vector<int64_t> expected(kCount, int64_t{1} << 48);
      expected[place] = c.expected;
      EXPECT_EQ(Download<int64_t>(sum), expected);
      EXPECT_EQ(Download<int32_t>(flag)[0], c.flag);
    }
  }
  auto sum = Zeros();
  auto flag = UploadInts({1});
  ops_->Accumulate(sum.view(), Upload(std::vector<float>(kCount), {kCount}).view(), limit,
                   static_cast<int32_t*>(flag.view().data));
  EXPECT_EQ(Download<int32_t>(flag)[0], 1);  // left alone
}

TEST_P(OptimizerTest, FloatAccumulateAddsAndFlags) {
  std::vector<float> g = Random(kCount, 1);
  const std::vector<float> before = Random(kCount, 2);
  auto sum = Upload(before, {kCount});
  auto flag = UploadInts({0});
  ops_->Accumulate(sum.view(), Upload(g, {kCount}).view(), 1,
                   static_cast<int32_t*>(flag.view().data));
  const std::vector<float> sums = Download(sum);
  for (int64_t i = 0; i < kCount; ++i) ASSERT_EQ(sums[i], before[i] + g[i]);
  EXPECT_EQ(Download<int32_t>(flag)[0], 0);
  g[kCount - 1] = std::nanf("");
  ops_->Accumulate(sum.view(), Upload(g, {kCount}).view(), 1,
                   static_cast<int32_t*>(flag.view().data));
  EXPECT_EQ(Download<int32_t>(flag)[0], 1);
}

TEST_P(OptimizerTest, SumOfSquaresByChunksOf1024) {
  const std::vector<float> g = Random(kCount, 1);
  std::vector<int64_t> fixed(kCount);
  for (int64_t i = 0; i < kCount; ++i) fixed[i] = std::llrint(std::ldexp(double{g[i]}, 50));
  const int64_t num_chunks = (kCount + 1023) / 1024;
  for (const bool exact : {false, true}) {
    const auto sum = exact ? UploadAs(fixed, DType::kI64, {kCount}) : Upload(g, {kCount});
    auto chunks = pool_->Allocate(DType::kF64, {num_chunks});
    ops_->SumOfSquares(chunks.view(), sum.view());
    const std::vector<double> actual = Download<double>(chunks);
    for (int64_t c = 0; c < num_chunks; ++c) {
      double expected = 0;
      for (int64_t i = c * 1024; i < std::min(kCount, (c + 1) * 1024); ++i) {
        expected += double{g[i]} * g[i];
      }
      ASSERT_NEAR(actual[c], expected, 1e-13 * expected);  // float64 in another order
    }
  }
}

TEST_P(OptimizerTest, AdamWFollowsAlgorithm2OverThreeSteps) {
  AdamWOptions options = {.learning_rate = 1e-2f, .weight_decay = 0.1f, .gradient_scale = 0.5f};
  std::vector<float> w = Random(kCount, 1);
  testing::Doubles w64(w.begin(), w.end());
  testing::Doubles m64(kCount);
  testing::Doubles v64(kCount);
  auto weight = Upload(w, {kCount});
  auto exp_avg = Upload(std::vector<float>(kCount), {kCount});
  auto exp_avg_sq = Upload(std::vector<float>(kCount), {kCount});
  auto flag = UploadInts({0});
  for (int step = 1; step <= 3; ++step) {
    const bool exact = step != 2;  // both kinds of sums
    const std::vector<float> g = Random(kCount, 10 + static_cast<uint32_t>(step));
    auto sum = exact ? Zeros() : Upload(g, {kCount});
    if (exact) {
      ops_->Accumulate(sum.view(), Upload(g, {kCount}).view(), kNoLimit,
                       static_cast<int32_t*>(flag.view().data));
    }
    options.step = step;
    ops_->AdamW(weight.view(), exp_avg.view(), exp_avg_sq.view(), sum.view(), options);
    for (int64_t i = 0; i < kCount; ++i) {
      const double gradient = double{g[i]} * 0.5;
      const double b1 = options.beta1;
      const double b2 = options.beta2;
      w64[i] *= 1 - double{options.learning_rate} * options.weight_decay;
      m64[i] = b1 * m64[i] + (1 - b1) * gradient;
      v64[i] = b2 * v64[i] + (1 - b2) * gradient * gradient;
      w64[i] -= double{options.learning_rate} * (m64[i] / (1 - std::pow(b1, step))) /
                (std::sqrt(v64[i] / (1 - std::pow(b2, step))) + double{options.epsilon});
    }
    if (exact) {
      EXPECT_EQ(Download<int64_t>(sum), std::vector<int64_t>(kCount));  // cleared on the way
    } else {
      EXPECT_EQ(Download(sum), std::vector<float>(kCount));
    }
  }
  // A few float roundings per step; a weight moves by about the learning rate per step.
  ExpectClose(Download(weight), w64, 5e-7);
  ExpectClose(Download(exp_avg), m64, 1e-6);
  ExpectClose(Download(exp_avg_sq), v64, 1e-6);
}

TEST_P(OptimizerTest, GivesTheSameBitsOnAnyNumberOfThreads) {
  const auto g = Upload(Random(kCount, 1), {kCount});
  auto flag = UploadInts({0});
  testing::ExpectSameBitsOnAnyNumberOfThreads([&] {
    auto sum = Zeros();
    auto w = Upload(Random(kCount, 2), {kCount});
    auto m = Upload(Random(kCount, 3), {kCount});
    auto v = Upload(std::vector<float>(kCount, 0.5f), {kCount});
    auto chunks = pool_->Allocate(DType::kF64, {40});
    ops_->Accumulate(sum.view(), g.view(), kNoLimit, static_cast<int32_t*>(flag.view().data));
    ops_->SumOfSquares(chunks.view(), sum.view());
    ops_->AdamW(w.view(), m.view(), v.view(), sum.view(), {.learning_rate = 0.1f, .step = 3});
    std::vector<float> norms(80);
    std::memcpy(norms.data(), Download<double>(chunks).data(), 320);
    return Concatenate({Download(w), Download(m), Download(v), norms});
  });
}

}  // namespace
}  // namespace liquid
