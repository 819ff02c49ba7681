#include "worker/learning_rate.h"

#include "gmock/gmock.h"

namespace liquid {
namespace {

Optimizer MakeOptimizer(const char* schedule) {
  Optimizer optimizer;
  optimizer.set_learning_rate(2.0);
  optimizer.set_schedule(schedule);
  optimizer.set_warmup_steps(4);
  optimizer.set_final_learning_rate_ratio(0.1);
  return optimizer;
}

TEST(LearningRateTest, RisesLinearlyToThePeak) {
  const Optimizer optimizer = MakeOptimizer("cosine");
  EXPECT_DOUBLE_EQ(LearningRate(optimizer, 1, 20), 0.5);
  EXPECT_DOUBLE_EQ(LearningRate(optimizer, 3, 20), 1.5);
  EXPECT_DOUBLE_EQ(LearningRate(optimizer, 4, 20), 2.0);
}

TEST(LearningRateTest, EndsAtTheAskedRatio) {
  EXPECT_DOUBLE_EQ(LearningRate(MakeOptimizer("cosine"), 20, 20), 0.2);
  EXPECT_DOUBLE_EQ(LearningRate(MakeOptimizer("linear"), 20, 20), 0.2);
  EXPECT_DOUBLE_EQ(LearningRate(MakeOptimizer("constant"), 20, 20), 2.0);
}

TEST(LearningRateTest, IsHalfWayInTheMiddle) {
  EXPECT_DOUBLE_EQ(LearningRate(MakeOptimizer("cosine"), 12, 20), 1.1);
  EXPECT_DOUBLE_EQ(LearningRate(MakeOptimizer("linear"), 12, 20), 1.1);
  EXPECT_GT(LearningRate(MakeOptimizer("cosine"), 8, 20),
            LearningRate(MakeOptimizer("linear"), 8, 20));
}

TEST(LearningRateTest, AJobShorterThanItsWarmUpNeverLeavesIt) {
  EXPECT_DOUBLE_EQ(LearningRate(MakeOptimizer("cosine"), 2, 2), 1.0);
}

}  // namespace
}  // namespace liquid
