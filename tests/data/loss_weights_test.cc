#include "data/loss_weights.h"

#include "gmock/gmock.h"
#include "tests/testing/status_matchers.h"

namespace liquid {
namespace {

using ::liquid::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

TEST(LossWeightsTest, GivesEachWeightAByte) {
  LossWeights weights;
  EXPECT_EQ(*weights.ByteOf(0.0F), 0);
  EXPECT_EQ(*weights.ByteOf(1.0F), 1);
  EXPECT_THAT(weights.others(), SizeIs(0));
  EXPECT_EQ(*weights.ByteOf(0.5F), 2);
  EXPECT_EQ(*weights.ByteOf(3.0F), 3);
  EXPECT_EQ(*weights.ByteOf(0.5F), 2);
  EXPECT_THAT(weights.others(), ElementsAre(0.5F, 3.0F));
}

TEST(LossWeightsTest, HoldsSixteenOthers) {
  LossWeights weights;
  for (int i = 2; i < 18; ++i) EXPECT_EQ(*weights.ByteOf(static_cast<float>(i)), i);
  EXPECT_THAT(weights.ByteOf(18.0F), StatusIs(absl::StatusCode::kFailedPrecondition,
                                              HasSubstr("this would be one more: 18")));
  EXPECT_EQ(*weights.ByteOf(17.0F), 17);
}

}  // namespace
}  // namespace liquid
